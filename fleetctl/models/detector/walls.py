"""From what a manifest says about walls to scenes, and to the one digest that names them."""

import re
from collections.abc import Sequence
from pathlib import Path

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import WallsDataset
from fleetctl.models import carvers, dataset_digest, datasets, fonts, gardiner, photos
from fleetctl.models.detector import plates
from fleetctl.models.detector.masonry import Mason
from fleetctl.models.detector.relief import reliefs
from fleetctl.models.detector.scenes import Scene, Scenes
from fleetctl.models.folder_digest import folder_digest
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples, stratified
from fleetctl.store import canonical_json, sha256, sha256_file

_DRAWN = 12  # drawings of each sign where there are no crops
_KEPT_OUT = 0.1  # as many composed walls as this fraction are measured on, where no plate is held out
_PLATE_PREFIX = re.compile(r"([0-9]{2})[0-9]{4}_")  # of a crop's name in Franken's set: plate, number, sign


def load(dataset: WallsDataset, *, base: Path, cache: Path, progress: Progress = silent) -> Scenes:
    """The scenes of a dataset, split into those to learn from and those kept out.

    Held-out plates are what is measured on; crops whose name says that they come from one are left out too.
    Where no plate is held out, walls composed of signs kept out are measured on.

    Args:
        base: folder that relative paths of the dataset start from.
        cache: as everywhere; nothing is kept in it.
        progress: hears stage `compose` after each wall.

    Raises:
        BuildError: there is no usable data; the message names the file or folder.
        ToolchainMissing: signs are to be drawn and a font for it is not installed.
    """
    del cache
    real = plates.read(base / dataset.plates) if dataset.plates is not None else {}
    missing = [plate for plate in dataset.held_out if plate not in real]
    if missing:
        raise BuildError(
            f"the plate {', '.join(missing)} to be held out is not in the dataset",
            hint=f"`plates` has {', '.join(real) or 'none'}",
        )
    learnt = tuple(scene for plate, scene in real.items() if plate not in dataset.held_out)
    held_out = tuple(real[plate] for plate in dataset.held_out)
    split = stratified(_signs(dataset, base, progress), seed=dataset.seed)
    if held_out:
        composed = _compose(split.train + split.evaluation, dataset.walls, dataset.seed, progress)
        return Scenes(learnt + composed, held_out)
    measured = _compose(
        split.evaluation, max(4, round(_KEPT_OUT * dataset.walls)), dataset.seed + 1, progress
    )
    return Scenes(learnt + _compose(split.train, dataset.walls, dataset.seed, progress), measured)


def digest(dataset: WallsDataset, *, base: Path, cache: Path) -> str:
    """sha256 that changes whenever the manifest or its photos would give `load` other scenes.

    It imports no heavy package.

    Raises:
        BuildError: as `load`, for a missing folder or list.
    """
    parts: dict[str, object] = {
        "kind": "WallsDataset",
        "seed": dataset.seed,
        "walls": dataset.walls,
        "held_out": list(dataset.held_out),
    }
    if dataset.plates is not None:
        folder = base / dataset.plates
        photographed = plates.photos(folder)
        parts["plates"] = {path.name: _file_digest(path) for path in (*photographed, folder / plates.BOXES)}
    if dataset.crops is not None:
        parts["crops"] = folder_digest(base / dataset.crops, cache=cache)
    else:
        parts["fonts"] = dataset_digest.font_names(dataset.fonts)
    return sha256(canonical_json(parts))


def _file_digest(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError as exc:
        raise BuildError(
            f"{path} cannot be read: {exc.strerror}", hint="check `plates` of the dataset"
        ) from None


def _signs(dataset: WallsDataset, base: Path, progress: Progress) -> Samples:
    if dataset.crops is None:
        files = fonts.find_all(dataset.fonts)
        return carvers.samples(files, dataset.seed, gardiner.USUAL_SIGNS, _DRAWN, progress)
    samples = photos.read(base / dataset.crops)
    datasets.demand_signs(base / dataset.crops, samples)
    kept = [i for i, name in enumerate(samples.names) if not _is_of_plate(name, dataset.held_out)]
    if len({samples.labels[i] for i in kept}) < 2:
        raise BuildError(
            f"{base / dataset.crops} holds fewer than two signs that come from no plate held out",
            hint="give photos of more signs, or leave `crops` out to draw them",
        )
    return samples.pick(kept)


def _is_of_plate(name: str, held_out: Sequence[str]) -> bool:
    match = _PLATE_PREFIX.match(Path(name).name)
    return match is not None and any(plate.isdigit() and int(plate) == int(match[1]) for plate in held_out)


def _compose(samples: Samples, count: int, seed: int, progress: Progress) -> tuple[Scene, ...]:
    found = reliefs(samples)
    if not found:
        raise BuildError(
            f"none of {len(samples)} sign photos is fit to compose walls of",
            hint="give photos on which the sign is darker than the stone, two of some sign at least",
        )
    mason = Mason(found, seed=seed)
    walls = []
    for number in range(count):
        walls.append(mason.wall(number))
        progress("compose", number + 1, count)
    return tuple(walls)
