"""Ways in which a release goes wrong and still has every digest right, as changes to an artifact's files.

A golden set is worth what it catches. The build makes each of these out of the very model it has just built
and lets the board's own code answer; `margins.py` says by how much the board's own judge refuses each.
What is broken outside the artifact (a slow board, an absent accelerator) is not made here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE
from fleetctl.models.npy import load_npy, npy
from fleetctl.store import canonical_json

Files = Mapping[str, bytes]
"""An artifact: file name -> bytes."""

_SEED = 0
_FLIPPED = 0.01  # of all weight bytes
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


class BadRelease(Struct, frozen=True):
    """One kind of bad release. `change` gives the harmed files, or None where the model has no such part."""

    name: str
    story: str  # how it comes about
    change: Callable[[Files], Files | None]


def _truncated(files: Files) -> Files:
    return {**files, MODEL_FILE: files[MODEL_FILE][: len(files[MODEL_FILE]) // 2]}


def _labels_shifted(files: Files) -> Files:
    labels = _contract(files)["labels"]
    return _with_contract(files, labels=[*labels[1:], labels[0]])


def _labels_cut(files: Files) -> Files:
    return _with_contract(files, labels=_contract(files)["labels"][:-1])


def _other_contract(files: Files) -> Files:
    """The contract of a sibling that was trained on pictures of another size."""
    contract = _contract(files)
    batch, height, width, channels = contract["input"]["shape"]
    shape = [height + 32, width + 32, channels]
    return _with_contract(
        files,
        input={**contract["input"], "shape": [batch, *shape]},
        preprocess={**contract["preprocess"], "shape": shape},
    )


def _other_type(files: Files) -> Files:
    """An int8 model under a float contract, and the other way about."""
    contract = _contract(files)
    quantized = contract["input"]["scale"] > 0
    ends = {"dtype": "float32", "scale": 0.0} if quantized else {"dtype": "uint8", "scale": 1.0}
    return _with_contract(files, input={**contract["input"], **ends})


def _light_as_it_is(files: Files) -> Files | None:
    spec = _contract(files)["preprocess"]
    return _with_contract(files, preprocess={**spec, "lighting": None}) if spec.get("lighting") else None


def _not_smoothed(files: Files) -> Files | None:
    spec = _contract(files)["preprocess"]
    return _with_contract(files, preprocess={**spec, "smooth": 0}) if spec.get("smooth") else None


def _inverted(files: Files) -> Files:
    return {**files, GOLDEN_FILE: npy(255 - load_npy(files[GOLDEN_FILE]))}


def _mirrored(files: Files) -> Files:
    return {**files, GOLDEN_FILE: npy(load_npy(files[GOLDEN_FILE])[:, :, ::-1])}


def _transposed(files: Files) -> Files:
    return {**files, GOLDEN_FILE: npy(load_npy(files[GOLDEN_FILE]).transpose(0, 2, 1))}


def _zeroed_layer(files: Files) -> Files:
    """The largest layer's weights are zero: for a quantized one, its zero point."""

    def zero(weights: list[_Weights]) -> None:
        largest = max(weights, key=lambda layer: layer.values.size)
        largest.values[:] = 0

    return _with_weights(files, zero)


def _bits_flipped(files: Files) -> Files:
    """One weight byte in a hundred has one bit wrong: a bad copy that was hashed after it went bad."""

    def flip(weights: list[_Weights]) -> None:
        rng = np.random.default_rng(_SEED)
        for layer in weights:
            raw = layer.values.view(np.uint8)
            hit = rng.random(raw.size) < _FLIPPED
            raw[hit] ^= (1 << rng.integers(0, 8, int(hit.sum()))).astype(np.uint8)

    return _with_weights(files, flip)


def _channels_swapped(files: Files) -> Files:
    """The output channels of the first layer are in another order: weights of two trainings, mixed."""

    def roll(weights: list[_Weights]) -> None:
        first = weights[0]
        first.values[:] = np.roll(first.values.reshape(first.shape), 1, axis=0).reshape(-1)

    return _with_weights(files, roll)


def _not_a_number(files: Files) -> Files | None:
    """One weight of a float model is NaN: a training that diverged."""

    def spoil(weights: list[_Weights]) -> None:
        for layer in weights:
            if layer.values.dtype.kind == "f":
                layer.values[0] = np.nan

    changed = _with_weights(files, spoil)
    return None if changed[MODEL_FILE] == files[MODEL_FILE] else changed


def _scale_not_folded(files: Files) -> Files | None:
    """The network expects 0..1 and is given 0..255."""

    def unfold(weights: list[_Weights]) -> None:
        first = weights[0]
        if first.scales is not None:
            first.scales[:] = first.scales * 255
        elif first.values.dtype.kind == "f":
            first.values[:] = first.values * 255

    changed = _with_weights(files, unfold)
    return None if changed[MODEL_FILE] == files[MODEL_FILE] else changed


def _stale_ranges(files: Files) -> Files | None:
    """Weights were trained on, and the scales beside them are those of an earlier calibration."""

    def drift(weights: list[_Weights]) -> None:
        rng = np.random.default_rng(_SEED)
        for layer in weights:
            if layer.scales is not None:
                layer.scales[:] = layer.scales * rng.uniform(0.7, 1.4, layer.scales.size)

    changed = _with_weights(files, drift)
    return None if changed[MODEL_FILE] == files[MODEL_FILE] else changed


BAD_RELEASES = (
    BadRelease("truncated model", "a copy that broke off before it was hashed", _truncated),
    BadRelease("labels shifted by one", "the list was sorted, or lost its first entry", _labels_shifted),
    BadRelease("label list cut short", "the list of another training", _labels_cut),
    BadRelease("another model's contract", "a sibling trained on larger pictures", _other_contract),
    BadRelease("another variant's contract", "int8 taken for float32, or float32 for int8", _other_type),
    BadRelease("weights not a number", "a training that diverged", _not_a_number),
    BadRelease("light not evened out", "preprocessing of an earlier version", _light_as_it_is),
    BadRelease("not smoothed", "preprocessing of an earlier version", _not_smoothed),
    BadRelease("input scale not folded in", "a network for 0..1 given 0..255", _scale_not_folded),
    BadRelease("picture inverted", "black and white exchanged", _inverted),
    BadRelease("picture mirrored", "a camera that mirrors", _mirrored),
    BadRelease("picture transposed", "rows taken for columns", _transposed),
    BadRelease("layer zeroed", "a checkpoint that was not loaded whole", _zeroed_layer),
    BadRelease("channels swapped", "layers of two trainings mixed", _channels_swapped),
    BadRelease("stale quantization", "weights newer than their scales", _stale_ranges),
    BadRelease("bits flipped", "memory or disk that errs", _bits_flipped),
)


class _Weights(Struct, frozen=True):
    """The weights of one layer, flat and writable in place; `scales` likewise, None where not quantized."""

    shape: tuple[int, ...]
    values: NDArray[Any]
    scales: NDArray[np.float32] | None


def _with_weights(files: Files, change: Callable[[list[_Weights]], None]) -> Files:
    model = bytearray(files[MODEL_FILE])
    change(list(_weights(model)))
    return {**files, MODEL_FILE: bytes(model)}


def _weights(model: bytearray) -> Iterator[_Weights]:
    """The weights of each layer that has any, in the order of the graph, as views into `model`."""
    import tflite

    root = tflite.Model.GetRootAs(model, 0)
    graph = root.Subgraphs(0)
    names = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
    types = {tflite.TensorType.FLOAT32: "<f4", tflite.TensorType.FLOAT16: "<f2", tflite.TensorType.INT8: "i1"}
    # float16 weights reach their layer through a DEQUANTIZE
    through = {
        op.Outputs(0): op.Inputs(0)
        for op in map(graph.Operators, range(graph.OperatorsLength()))
        if names.get(_code(root, op)) == "DEQUANTIZE"
    }
    for op in map(graph.Operators, range(graph.OperatorsLength())):
        if names.get(_code(root, op)) not in _WEIGHTED:
            continue
        tensor = graph.Tensors(through.get(op.Inputs(1), op.Inputs(1)))
        raw = root.Buffers(tensor.Buffer()).DataAsNumpy()
        if tensor.Type() in types and isinstance(raw, np.ndarray):
            said = tensor.Quantization()
            scales = said.ScaleAsNumpy() if said is not None and said.ScaleLength() else None
            yield _Weights(tuple(tensor.ShapeAsNumpy()), raw.view(types[tensor.Type()]), scales)


def _code(root: Any, op: Any) -> int:
    code = root.OperatorCodes(op.OpcodeIndex())
    return max(int(code.DeprecatedBuiltinCode()), int(code.BuiltinCode()))


def _contract(files: Files) -> dict[str, Any]:
    contract: dict[str, Any] = json.loads(files[CONTRACT_FILE])
    return contract


def _with_contract(files: Files, **changes: Any) -> Files:
    return {**files, CONTRACT_FILE: canonical_json({**_contract(files), **changes})}
