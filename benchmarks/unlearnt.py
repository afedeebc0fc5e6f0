"""The usual reader before it has learnt: as large and as slow as one that has, and made in half a minute.

Its golden answers are what it says itself, by the board's own code, so that a board proves it like any other.
"""

import io
import json
from enum import Enum
from functools import cache
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from fleetctl.artifact import Artifact, BlobRef, Contract, GoldenAnswer, Tensor
from fleetctl.device import reader, runtime
from fleetctl.manifest.schema import Architecture, VariantName
from fleetctl.models import gardiner
from fleetctl.models.converter import to_tflite, with_batch_one
from fleetctl.models.network import build
from fleetctl.models.quantize import _scoring, _take_pixels
from fleetctl.models.reader import prepare_all, preprocess_spec
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow
from fleetctl.store import BlobStore

SAMPLES = 16
PHOTO = (75, 50)  # height and width, as signs are cut out of photos of walls
ARCHITECTURE = Architecture()
LABELS = gardiner.USUAL_SIGNS


def photos() -> list[NDArray[np.uint8]]:
    """Grey photos of nothing, each another."""
    chance = np.random.default_rng(0)
    coarse = chance.integers(0, 256, (SAMPLES, 5, 5), np.uint8)
    return [np.kron(each, np.ones((PHOTO[0] // 5, PHOTO[1] // 5), np.uint8)) for each in coarse]


class Weights(Enum):
    """Which of them are others: none, those of the last layer, or all."""

    AS_MADE = "as made"
    LAST_LAYER = "the last layer anew"
    ALL = "trained anew"


@cache
def _files(weights: Weights) -> dict[str, bytes]:
    """The int8 variant with its contract and golden samples."""
    pictures = photos()
    model = _with_others(_model(), weights)
    return {
        "model.tflite": model,
        "contract.json": _contract(model, preprocess_spec(ARCHITECTURE), pictures).to_json(),
        "golden.npy": _npy(np.stack(pictures)),
    }


@cache
def _model() -> bytes:
    prepared = prepare_all(Samples(photos(), [""] * SAMPLES, [""] * SAMPLES), preprocess_spec(ARCHITECTURE))
    tf = tensorflow()
    tf.keras.utils.set_random_seed(0)
    network = build(ARCHITECTURE, len(LABELS))
    _take_pixels(network)
    return to_tflite(with_batch_one(_scoring(network)), VariantName.INT8, prepared)


def _with_others(model: bytes, weights: Weights) -> bytes:
    """The model with the weights of layers in another order: noise of the kind that learning makes."""
    import tflite

    changed, chance = bytearray(model), np.random.default_rng(0)
    root = tflite.Model.GetRootAs(changed)
    graph = root.Subgraphs(0)
    layers = [graph.Operators(index) for index in range(graph.OperatorsLength())]
    learnt = [
        root.Buffers(graph.Tensors(layer.Inputs(1)).Buffer()) for layer in layers if layer.InputsLength() > 2
    ]
    chosen = {Weights.AS_MADE: [], Weights.LAST_LAYER: learnt[-1:], Weights.ALL: learnt}[weights]
    for buffer in chosen:
        values = buffer.DataAsNumpy()
        values[:] = chance.permutation(values)
    return bytes(changed)


def _contract(model: bytes, spec: dict[str, object], pictures: list[NDArray[np.uint8]]) -> Contract:
    engine = runtime.load(model, "none", 1)
    (output,) = engine.outputs
    contract = Contract(
        model="unlearnt",
        variant="int8",
        task="classification",
        labels=LABELS,
        preprocess=spec,
        input=Tensor(engine.input.shape, engine.input.dtype, engine.input.scale, engine.input.zero_point),
        output=Tensor(output.shape, output.dtype, output.scale, output.zero_point),
        golden=(),
        score_tolerance=0.15,
    )
    answering = reader.Reader(json.loads(contract.to_json()), engine, 0.0)
    said = [answering.read(picture)["top"][0] for picture in pictures]
    return replace(contract, golden=tuple(GoldenAnswer(one["label"], one["score"]) for one in said))


def _npy(array: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def keep(folder: Path, weights: Weights = Weights.AS_MADE) -> tuple[BlobStore, Artifact]:
    """A store in `folder` with the model in it."""
    store = BlobStore(folder / "store")
    kept = {name: BlobRef(store.put(data), len(data)) for name, data in _files(weights).items()}
    return store, Artifact("unlearnt", "int8", kept)
