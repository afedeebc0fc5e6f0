"""The toy model as a real, tiny one: it tells signs apart by which quadrant of a photo is the brightest."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from toy_build import ToyStages

from fleetctl.build.builder import build
from fleetctl.build.stages import Converted, Measured, ModelStages
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.progress import Progress
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples, Split
from fleetctl.project import Project

QUADRANTS = Path(__file__).parent / "cases" / "device" / "quadrants.tflite"
SIGNS = ("G17", "M17", "N35", "Z1")  # as which quadrant of the photo is the brightest
MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 4}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1}
rollout:
  waves: [{percent: 100}]
"""


def photo(quadrant: int) -> NDArray[np.uint8]:
    image = np.full((16, 16), 20, np.uint8)
    top, left = 8 * (quadrant // 2), 8 * (quadrant % 2)
    image[top : top + 8, left : left + 8] = 220
    return image


def write_photos(folder: Path, *quadrants_and_labels: tuple[int, str]) -> Path:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number, (quadrant, label) in enumerate(quadrants_and_labels):
        Image.fromarray(photo(quadrant)).save(folder / f"{number:04d}_{label}.png")
    return folder


class QuadrantToyStages(ToyStages):
    """Stages whose trained network is the quadrant model, measured as real ones are."""

    def load(self, model: Model, *, base: Path, cache: Path, progress: Progress) -> Split:
        del model, base, cache, progress
        samples = Samples([photo(i) for i in range(4)], list(SIGNS), list(SIGNS))
        return Split(samples, samples)

    def train(self, model: Model, split: Split, *, workdir: Path, progress: Progress) -> Trained:
        trained = super().train(model, split, workdir=workdir, progress=progress)
        return Trained(SIGNS, trained.weights, {"shape": [16, 16, 1]})

    def convert(
        self, model: Model, trained: Trained, variant: VariantName, learnt: Samples, *, progress: Progress
    ) -> Converted:
        del model, trained, variant, learnt, progress
        return Converted(QUADRANTS.read_bytes(), QUADRANTS.read_bytes())

    def measure(self, tflite: bytes, trained: Trained, samples: Samples, *, progress: Progress) -> Measured:
        return ModelStages().measure(tflite, trained, samples, progress=progress)


def build_model(manifest: Path) -> None:
    """Have it locked, in as many variants as the manifest lists."""
    build(load(manifest), Project(manifest), stages=QuadrantToyStages())
