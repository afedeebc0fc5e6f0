"""The one digest that names what a dataset holds. Imports nothing heavy: every plan asks for it."""

from pathlib import Path

from fleetctl.manifest.schema import ArchiveDataset, Dataset, FolderDataset, RenderedDataset, WallsDataset
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
                "drawing": _drawing(),
            }
        case FolderDataset():
            parts = {"photos": folder_digest(base / dataset.path, cache=cache)}
            if dataset.evaluation is not None:
                parts["evaluation"] = folder_digest(base / dataset.evaluation, cache=cache)
            if dataset.rendered:
                parts |= {"rendered": dataset.rendered, "drawing": _drawing()}
        case WallsDataset():
            from fleetctl.models.detector import walls

            return walls.digest(dataset, base=base, cache=cache)
        case ArchiveDataset():
            parts = {"sha256": dataset.sha256, "subfolder": dataset.subfolder}
    return sha256(canonical_json({"kind": type(dataset).__name__, "seed": dataset.seed, **parts}))


def _drawing() -> dict[str, object]:
    return {"font": sha256_file(fonts.find()), "generator": GENERATOR_VERSION}


def signs_of(dataset: RenderedDataset) -> tuple[str, ...]:
    """The signs that are drawn where the manifest names none, or those it names."""
    return dataset.signs or gardiner.USUAL_SIGNS
