"""The detector on a photographed plate that it never saw, learnt from walls and the other plates."""

from pathlib import Path

import pytest
from long_matrices import takes

from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Model,
    Task,
    Training,
    VariantName,
    WallsDataset,
)
from fleetctl.models.detector import walls
from fleetctl.models.detector.convert import convert
from fleetctl.models.detector.inference import Detector, contract
from fleetctl.models.detector.measure import measure
from fleetctl.models.detector.train import train

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]


@takes("minutes of training")
def test_most_signs_of_an_unseen_plate_are_found(shared_data: Path, tmp_path: Path) -> None:
    """int8 finds at least 85 % of the boxed signs, at IoU 0.5 and score 0.5."""
    dataset = WallsDataset(Path("plates"), Path("glyphs/training"), held_out=("9",), walls=300)
    scenes = walls.load(dataset, base=shared_data, cache=tmp_path)
    model = Model(
        "glyphdetector",
        Task.DETECTION,
        dataset,
        Architecture(ArchitectureName.SSD_MOBILENET_V1, alpha=0.5, input=(320, 320, 1)),
        Training(epochs=9, batch_size=4, learning_rate=0.003),
    )
    trained = train(model, scenes, workdir=tmp_path)
    int8 = convert(trained, VariantName.INT8, scenes.train)
    measured = measure(Detector(int8, contract(int8, trained)), scenes.evaluation)
    assert measured.n == 338
    assert measured.recall >= 0.85
    assert measured.precision >= 0.75
