"""From what a manifest says about data to samples; `dataset_digest` names them."""

from collections.abc import Collection
from pathlib import Path

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import ArchiveDataset, Dataset, FolderDataset, RenderedDataset, WallsDataset
from fleetctl.models import carvers, fonts, gardiner, photos, rendered
from fleetctl.models.dataset_digest import digest as digest
from fleetctl.models.dataset_digest import signs_of
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Samples, Split, shared, stratified


def load(dataset: Dataset, *, base: Path, cache: Path, progress: Progress = silent) -> Split:
    """The samples of a dataset, split into those to learn from and those kept out.

    Args:
        base: folder that relative paths of the dataset start from.
        cache: folder for downloads.

    Raises:
        BuildError: there is no usable data; the message names the file or folder.
        ToolchainMissing: signs are to be drawn and a font for it is not installed.
    """
    match dataset:
        case RenderedDataset():
            split = _load_rendered(dataset, progress)
        case FolderDataset():
            split = _load_folder(dataset, base, progress)
        case ArchiveDataset():
            from fleetctl.models import archive  # with http and ssl, which a plan would pay for too

            folder = archive.fetch(dataset.url, dataset.sha256, cache=cache, progress=progress)
            split = stratified(_photos(folder / dataset.subfolder, progress), seed=dataset.seed)
        case WallsDataset():
            raise BuildError("walls teach detectors, not readers", hint="write `task: detection`")
    _demand_something_to_learn(split, _place(dataset, base))
    if isinstance(dataset, FolderDataset) and dataset.evaluation is not None:
        _demand_something_unseen(split, base / dataset.evaluation)
    return split


def _load_rendered(dataset: RenderedDataset, progress: Progress) -> Split:
    files = fonts.find_all(dataset.fonts)
    samples = carvers.samples(files, dataset.seed, signs_of(dataset), dataset.samples_per_sign, progress)
    return stratified(samples, seed=dataset.seed)


def _load_folder(dataset: FolderDataset, base: Path, progress: Progress) -> Split:
    samples = _photos(base / dataset.path, progress)
    if dataset.evaluation is None:
        split = stratified(samples, seed=dataset.seed)
    else:
        split = Split(samples, _photos(base / dataset.evaluation, progress))
    if not dataset.rendered:
        return split
    files = fonts.find_all(dataset.fonts)
    known = {*gardiner.USUAL_SIGNS, *gardiner.BEYOND_UNICODE, *split.train.labels}
    signs = rendered.drawable(sorted(known), files)
    drawn = carvers.samples(files, dataset.seed, signs, dataset.rendered, progress)
    return Split(split.train + drawn, split.evaluation)


def _photos(folder: Path, progress: Progress) -> Samples:
    """The photos of a folder, each labelled by a sign."""
    samples = photos.read(folder, progress=progress)
    demand_signs(folder, samples)
    return samples


def demand_signs(folder: Path, samples: Samples, *, taught: Collection[str] = ()) -> None:
    """Refuse photos whose label is no sign.

    It would be taught as one more sign, or count as a mistake of a model that reads it rightly.

    Args:
        folder: where the samples are from.
        taught: labels that a model knows, whatever their form.

    Raises:
        BuildError: naming the first such photo, and the sign that is meant.
    """
    for name, label in zip(samples.names, samples.labels, strict=True):
        if label not in taught:
            gardiner.demand_sign(folder / name, label)


def _demand_something_unseen(split: Split, folder: Path) -> None:
    """Refuse an evaluation that a model passes by heart; where only some is known, the card says so."""
    if shared(split.train, split.evaluation) == len(split.evaluation):
        raise BuildError(
            f"every photo of {folder} is among those to learn from: they say nothing about others",
            hint="give photos of their own, or leave `evaluation` out: then a fifth of each sign is kept out",
        )


def _demand_something_to_learn(split: Split, place: str) -> None:
    taught = split.train.counts
    if len(taught) < 2:
        only = f"only one sign, {next(iter(taught))}," if taught else "no sign"
        raise BuildError(f"{place} has {only} to learn", hint="a reader needs at least two")
    if not len(split.evaluation):
        raise BuildError(
            f"{place} keeps no sample out for evaluation", hint="give at least two samples of some sign"
        )
    if not split.evaluation.counts.keys() & taught.keys():
        signs = f"{_some(split.train)} against {_some(split.evaluation)}"
        raise BuildError(
            f"{place} teaches no sign of its evaluation: {signs}",
            hint="check `path` and `evaluation` of the dataset",
        )


def _place(dataset: Dataset, base: Path) -> str:
    """What to call a dataset in a message."""
    match dataset:
        case FolderDataset():
            return str(base / dataset.path)
        case ArchiveDataset():
            return dataset.url
        case _:
            return "the dataset"


def _some(samples: Samples) -> str:
    """Its first signs, for a message."""
    signs = sorted(samples.counts)
    return ", ".join(signs[:4]) + (", ..." if len(signs) > 4 else "")
