"""Photos with their labels, as every later step takes them."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.manifest.buildable import kept_out
from fleetctl.store import sha256

Grey = NDArray[np.uint8]

_DRAWN = "rendered:"


class Samples(Struct, frozen=True):
    """Three parallel lists: grey uint8 (H, W) images of any size, labels, and names to report them by."""

    images: list[Grey]
    labels: list[str]
    names: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def __add__(self, other: "Samples") -> "Samples":
        return Samples(self.images + other.images, self.labels + other.labels, self.names + other.names)

    @property
    def counts(self) -> Counter[str]:
        """How many samples each label has."""
        return Counter(self.labels)

    def pick(self, indices: Iterable[int]) -> "Samples":
        """The samples at `indices`, in that order."""
        chosen = list(indices)
        return Samples(
            [self.images[i] for i in chosen],
            [self.labels[i] for i in chosen],
            [self.names[i] for i in chosen],
        )


def drawn_name(sign: str, index: int) -> str:
    """The name of a drawing, which `is_drawn` knows from a photo's."""
    return f"{_DRAWN}{sign}/{index:04d}"


def is_drawn(name: str) -> bool:
    """Whether a sample of this name was drawn, not photographed."""
    return name.startswith(_DRAWN)


class Split(Struct, frozen=True):
    """What a model learns from, and what it never sees until it is measured."""

    train: Samples
    evaluation: Samples


def shared(learnt: Samples, evaluation: Samples) -> int:
    """How many samples of `evaluation` are pixel by pixel among those learnt, whatever they are called."""
    known = {_pixels(image) for image in learnt.images}
    return sum(_pixels(image) in known for image in evaluation.images)


def _pixels(image: Grey) -> tuple[tuple[int, ...], str]:
    return image.shape, sha256(image.tobytes())


def stratified(samples: Samples, *, seed: int, fraction: float = 0.2) -> Split:
    """Keep a seeded fraction of each label out for evaluation; a label with one sample is trained on."""
    rng = np.random.default_rng(seed)
    by_label: dict[str, list[int]] = {}
    for index in sorted(range(len(samples)), key=samples.names.__getitem__):
        by_label.setdefault(samples.labels[index], []).append(index)
    unseen: set[int] = set()
    for label in sorted(by_label):
        members = by_label[label]
        count = kept_out(len(members), fraction)
        unseen.update(int(i) for i in rng.choice(members, count, replace=False))
    train = [i for i in range(len(samples)) if i not in unseen]
    return Split(samples.pick(train), samples.pick(sorted(unseen)))
