"""The one digest that names what a dataset holds. Imports nothing heavy: every plan asks for it."""

from collections.abc import Sequence
from pathlib import Path

from fleetctl.manifest.schema import (
    ArchiveDataset,
    Dataset,
    FolderDataset,
    Font,
    RenderedDataset,
    WallsDataset,
)
from fleetctl.models import fonts, gardiner
from fleetctl.models.folder_digest import folder_digest
from fleetctl.models.generator import GENERATOR_VERSION
from fleetctl.store import canonical_json, sha256, sha256_file


def digest(dataset: Dataset, *, base: Path, cache: Path) -> str:
    """sha256 that changes whenever `datasets.load` would give other samples.

    It imports no heavy package and downloads nothing.

    Raises:
        BuildError, ToolchainMissing: as `datasets.load`, for a missing folder or font.
    """
    match dataset:
        case RenderedDataset():
            parts: dict[str, object] = {
                "samples": dataset.samples_per_sign,
                "signs": list(signs_of(dataset)),
                "drawing": _drawing(dataset.fonts),
            }
        case FolderDataset():
            parts = {"photos": folder_digest(base / dataset.path, cache=cache)}
            if dataset.evaluation is not None:
                parts["evaluation"] = folder_digest(base / dataset.evaluation, cache=cache)
            if dataset.rendered:
                parts |= {"rendered": dataset.rendered, "drawing": _drawing(dataset.fonts)}
        case WallsDataset():
            from fleetctl.models.detector import walls

            return walls.digest(dataset, base=base, cache=cache)
        case ArchiveDataset():
            parts = {"sha256": dataset.sha256, "subfolder": dataset.subfolder}
    return sha256(canonical_json({"kind": type(dataset).__name__, "seed": dataset.seed, **parts}))


def outlines(named: Sequence[Font]) -> dict[str, object]:
    """What the outlines of drawn signs are taken from.

    Raises:
        ToolchainMissing: a font is not installed.
    """
    files = [sha256_file(font) for font in fonts.find_all(named)]
    # One is named as when there could be no more: its models need not be built again.
    return {"font": files[0]} if len(files) == 1 else {"fonts": files}


def _drawing(named: Sequence[Font]) -> dict[str, object]:
    return {**outlines(named), "generator": GENERATOR_VERSION}


def signs_of(dataset: RenderedDataset) -> tuple[str, ...]:
    """The signs that are drawn where the manifest names none, or those it names."""
    return dataset.signs or gardiner.USUAL_SIGNS
