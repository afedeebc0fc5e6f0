"""A small detector from walls to int8: slow for a unit test, and real."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from long_matrices import takes
from msgspec.structs import replace
from tiny_walls import walls_of_blocks

from fleetctl.artifact import Tensor
from fleetctl.device import detection_terms
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Model,
    Task,
    Training,
    VariantName,
    WallsDataset,
)
from fleetctl.models.detector.convert import as_module, convert, demand_fine_boxes
from fleetctl.models.detector.inference import Detector, contract
from fleetctl.models.detector.train import TrainedDetector, train
from fleetctl.models.edgetpu import flatbuffer

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.xdist_group("a detector in training"),  # which one worker trains, not each
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

SMALL = Model(
    "small",
    Task.DETECTION,
    WallsDataset(),
    Architecture(ArchitectureName.SSD_MOBILENET_V1, alpha=0.1, input=(224, 224, 1)),
    Training(epochs=1, batch_size=2, learning_rate=0.002),
)
MAPPABLE = {"CONV_2D", "DEPTHWISE_CONV_2D", "PAD", "RESHAPE", "LOGISTIC", "QUANTIZE"}


@dataclass(frozen=True)
class Built:
    trained: TrainedDetector
    tflite: dict[VariantName, bytes]
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small detector after four steps, in two variants."""
    scenes = walls_of_blocks()
    told: list[tuple[str, int, int]] = []
    folder = tmp_path_factory.mktemp("models")
    trained = train(SMALL, scenes, workdir=folder, progress=lambda *news: told.append(news))
    variants = (VariantName.FLOAT32, VariantName.INT8)
    return Built(trained, {one: convert(trained, one, scenes.train) for one in variants}, told)


def test_tells_of_each_step(built: Built) -> None:
    """Counted to the last one."""
    assert built.progress == [("train", step, 4) for step in range(5)]


def test_a_converted_detector_is_what_boards_take(built: Built) -> None:
    """Its contract passes the checks of the board; int8 has uint8 ends, and scores in steps of 1/256."""
    for variant, tflite in built.tflite.items():
        described = contract(tflite, built.trained, name="small", variant=variant)
        detection_terms.check(described.to_mapping())
        Detector(tflite, described).detect(np.full((300, 240), 180, np.uint8))
    int8 = contract(built.tflite[VariantName.INT8], built.trained)
    assert (int8.input.dtype, int8.output.dtype, int8.output.scale) == ("uint8", "uint8", 1 / 256)
    assert int8.boxes is not None and int8.boxes.dtype == "uint8"
    assert int8.output.shape == (1, 14 * 14 * 6, 3)


def test_every_operation_maps_to_an_edge_tpu(built: Built) -> None:
    """Convolutions, padding, reshapes, one logistic function, and the change of the ends' type."""
    graph = flatbuffer.read(built.tflite[VariantName.INT8]).graphs[0]
    assert {operation.op for operation in graph.operations} <= MAPPABLE
    assert all(len(graph.tensors[i].shape) <= 4 for i in (*graph.inputs, *graph.outputs))


def test_refuses_variants_it_cannot_make_good(built: Built) -> None:
    """QAT is not for detectors; int8 offsets in steps that one can see are none."""
    with pytest.raises(BuildError, match="int8-qat is not built of a detector"):
        convert(built.trained, VariantName.INT8_QAT, ())
    with pytest.raises(BuildError, match=r"steps of 10\.0 % of their size"):
        demand_fine_boxes(Tensor((1, 8, 4), "uint8", 0.5, 128), [10, 10, 5, 5])


def test_float32_answers_as_the_network_does(built: Built) -> None:
    """Folding the input's scale and converting change nothing but rounding."""
    tile = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 1)).astype(np.float32)
    scores, _ = as_module(built.trained).answer(tile)
    described = contract(built.tflite[VariantName.FLOAT32], built.trained)
    detector = Detector(built.tflite[VariantName.FLOAT32], described)
    told = detector.detect(tile[0, :, :, 0].astype(np.uint8), min_score=0.0)
    assert told
    assert 0 < max(one.score for one in told) < 1
    assert np.asarray(scores).shape == described.output.shape


@takes("two networks to build")
def test_interrupted_training_ends_with_the_same_weights(built: Built, tmp_path: Path) -> None:
    """Ctrl-C after two steps, then the same call again."""

    def interrupt(stage: str, done: int, total: int) -> None:
        del stage, total
        if done == 2:
            raise KeyboardInterrupt

    scenes = walls_of_blocks()
    with pytest.raises(KeyboardInterrupt):
        train(SMALL, scenes, workdir=tmp_path, progress=interrupt)
    told: list[int] = []
    again = train(SMALL, scenes, workdir=tmp_path, progress=lambda _stage, done, _total: told.append(done))
    assert told == [2, 3, 4]
    whole, resumed = (as_module(one).weights for one in (built.trained, again))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(whole, resumed, strict=True))


@takes("a network to build")
def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    """With advice, and no weights left behind."""
    wild = replace(SMALL, training=replace(SMALL.training, learning_rate=1e30, epochs=4))
    with pytest.raises(BuildError, match="training diverged") as refused:
        train(wild, walls_of_blocks(), workdir=tmp_path)
    assert refused.value.hint == "lower `training.learning_rate`"
    assert list(tmp_path.glob("*.keras")) == []


@pytest.mark.parametrize(
    ("record", "settings", "message"),
    [
        (
            "architecture",
            {"name": ArchitectureName.MOBILENET_V2},
            "mobilenet_v2 is no architecture for detection",
        ),
        ("architecture", {"input": (224, 230, 1)}, "cannot take an input of 224x230x1"),
        ("architecture", {"input": (192, 224, 1)}, "cannot take an input of 192x224x1"),
        ("architecture", {"input": (224, 224, 2)}, "cannot take an input of 224x224x2"),
        ("architecture", {"members": 2}, "has one member, not 2"),
        ("training", {"small_epochs": 1}, "`small_epochs` is for readers"),
        ("training", {"weight_decay": 0.1}, "`weight_decay` is for readers"),
        ("training", {"drawn_only": 1.25}, "`drawn_only` is for readers"),
    ],
)
def test_refuses_what_cannot_be_built(
    tmp_path: Path, record: str, settings: Mapping[str, Any], message: str
) -> None:
    """Before anything is learnt."""
    changed = replace(getattr(SMALL, record), **settings)
    with pytest.raises(BuildError) as refused:
        train(replace(SMALL, **{record: changed}), walls_of_blocks(), workdir=tmp_path)
    assert message in refused.value.message
