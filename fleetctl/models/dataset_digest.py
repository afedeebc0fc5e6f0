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
from fleetctl.models import gardiner
from fleetctl.models.folder_digest import folder_digest
from fleetctl.store import canonical_json, sha256


def digest(dataset: Dataset, *, base: Path, cache: Path) -> str:
    """sha256 that changes whenever the manifest or its photos ask `datasets.load` for other samples.

    It imports no heavy package and downloads nothing.

    Raises:
        BuildError: as `datasets.load`, for a missing folder.
    """
    match dataset:
        case RenderedDataset():
            parts: dict[str, object] = {
                "samples": dataset.samples_per_sign,
                "signs": [] if signs_of(dataset) == gardiner.USUAL_SIGNS else list(dataset.signs),
                "fonts": font_names(dataset.fonts),
            }
        case FolderDataset():
            parts = {"photos": folder_digest(base / dataset.path, cache=cache)}
            if dataset.evaluation is not None:
                parts["evaluation"] = folder_digest(base / dataset.evaluation, cache=cache)
            if dataset.rendered:
                parts |= {"rendered": dataset.rendered, "fonts": font_names(dataset.fonts)}
        case WallsDataset():
            from fleetctl.models.detector import walls

            return walls.digest(dataset, base=base, cache=cache)
        case ArchiveDataset():
            parts = {"sha256": dataset.sha256, "subfolder": dataset.subfolder}
    return sha256(canonical_json({"kind": type(dataset).__name__, "seed": dataset.seed, **parts}))


def font_names(fonts: Sequence[Font]) -> list[str]:
    """What counts of fonts, as of tools: who only rolls out needs none of them, and another release of one is
    no other recipe. The lock's toolchain has their bytes' digests."""
    return [font.value for font in fonts]


def fonts_of(dataset: Dataset) -> tuple[Font, ...]:
    """The fonts that samples of a dataset are drawn from; empty where none is drawn."""
    match dataset:
        case RenderedDataset(fonts=named):
            return named
        case FolderDataset(rendered=count, fonts=named):
            return named if count else ()
        case WallsDataset(crops=crops, fonts=named):
            return () if crops else named
        case ArchiveDataset():
            return ()


def signs_of(dataset: RenderedDataset) -> tuple[str, ...]:
    """The signs that are drawn where the manifest names none, or those it names."""
    return dataset.signs or gardiner.USUAL_SIGNS
