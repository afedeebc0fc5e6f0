"""Write the tiny detectors that the board's tests serve: `python tests/cases/device/make_detectors.py`.

All look at 16x16 grey pixels through five anchors: one of 8x8 in each quadrant, and one of 16x16. At each,
the label `disc` scores the mean brightness of the 4x4 pixels in the middle of the anchor, and `bar` that of
its left edge (16 pixels too). Boxes of fixed sizes move right with the light of the anchor's right edge.

`marks.tflite` is uint8 and right; its outputs come in the order boxes, scores. `misplaced.tflite` is the same
network with rows and columns mixed up in its boxes. `torn.tflite` is float32 and has a NaN in one box.
"""

from dataclasses import dataclass
from pathlib import Path

import flatbuffers
import make_models
import numpy as np
import tflite

HERE = Path(__file__).parent
SIDE = 16
PLACES = [(0, 0, 8), (0, 8, 8), (8, 0, 8), (8, 8, 8), (0, 0, 16)]  # top, left and side of each anchor
OFFSETS = (1.0, -2.0, -1.0, -3.0)  # dy, dx, dh, dw
PIXELS = 16  # that each weighted sum looks at
WEIGHT_SCALE = 1 / (PIXELS * 255)
SCORE_SCALE, BOX_SCALE, BOX_ZERO = 1 / 256, 0.05, 128


@dataclass
class Head:
    """One fully connected layer and the shape that its values are given."""

    name: str
    weights: np.ndarray
    bias: np.ndarray
    shape: tuple[int, ...]
    scale: float
    zero_point: int


def _mask(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[rows, columns] = 1
    return mask.reshape(-1)


def _edge(top: int, left: int, side: int) -> np.ndarray:
    return _mask(slice(top, top + side), slice(left, left + PIXELS // side))


def score_weights() -> np.ndarray:
    """(10, 256): disc and bar of each anchor."""
    rows = []
    for top, left, side in PLACES:
        middle = (
            slice(top + side // 2 - 2, top + side // 2 + 2),
            slice(left + side // 2 - 2, left + side // 2 + 2),
        )
        rows += [_mask(*middle), _edge(top, left, side)]
    return np.stack(rows)


def box_weights() -> np.ndarray:
    """(20, 256): only dx looks at the picture."""
    weights = np.zeros((len(PLACES), 4, SIDE * SIDE), np.float32)
    for anchor, (top, left, side) in enumerate(PLACES):
        weights[anchor, 1] = _edge(top, left + side - PIXELS // side, side)
    return weights.reshape(-1, SIDE * SIDE)


def heads(offsets: tuple[float, ...]) -> list[Head]:
    """Boxes and scores, with weights of one and a bias in real values."""
    count = len(PLACES)
    bias = np.tile(np.array(offsets, np.float32), count)
    return [
        Head("boxes", box_weights(), bias, (1, count, 4), BOX_SCALE, BOX_ZERO),
        Head("scores", score_weights(), np.zeros(2 * count, np.float32), (1, count, 2), SCORE_SCALE, 0),
    ]


def quantized(head: Head) -> Head:
    """Its constants as uint8 and int32."""
    bias = np.rint(head.bias / WEIGHT_SCALE).astype(np.int32)
    return Head(head.name, head.weights.astype(np.uint8), bias, head.shape, head.scale, head.zero_point)


def real(head: Head) -> Head:
    """Its constants as float32."""
    weights = (head.weights * WEIGHT_SCALE).astype(np.float32)
    return Head(head.name, weights, head.bias, head.shape, 0.0, 0)


def build(model: list[Head], kind: int) -> bytes:
    """A model of one FULLY_CONNECTED and one RESHAPE for each head."""
    builder = flatbuffers.Builder(1 << 14)
    is_real = kind == tflite.TensorType.FLOAT32
    weight_scale, input_scale = (0.0, 0.0) if is_real else (WEIGHT_SCALE, 1.0)
    bias_kind = kind if is_real else tflite.TensorType.INT32
    tensor = make_models._tensor
    tensors = [tensor(builder, "image", (1, SIDE, SIDE, 1), kind, 0, input_scale)]
    buffers, operators, outputs = [b""], [], []
    for head in model:
        first, shape = len(tensors), np.array(head.shape, np.int32)
        flat, at = (1, int(shape.prod())), len(buffers)
        tensors += [
            tensor(builder, f"{head.name} weights", head.weights.shape, kind, at, weight_scale),
            tensor(builder, f"{head.name} bias", head.bias.shape, bias_kind, at + 1, weight_scale),
            tensor(builder, f"{head.name} flat", flat, kind, 0, head.scale, head.zero_point),
            tensor(builder, f"{head.name} shape", shape.shape, tflite.TensorType.INT32, at + 2, 0.0),
            tensor(builder, head.name, head.shape, kind, 0, head.scale, head.zero_point),
        ]
        buffers += [head.weights.tobytes(), head.bias.tobytes(), shape.tobytes()]
        operators += [
            _operator(builder, 0, (0, first, first + 1), first + 2),
            _operator(builder, 1, (first + 2, first + 3), first + 4),
        ]
        outputs.append(first + 4)
    return _model(builder, tensors, operators, tuple(outputs), buffers)


def _operator(builder: flatbuffers.Builder, code: int, inputs: tuple[int, ...], output: int) -> int:
    taken, given = make_models._ints(builder, inputs), make_models._ints(builder, (output,))
    if code == 0:
        tflite.FullyConnectedOptionsStart(builder)
        options = tflite.FullyConnectedOptionsEnd(builder)
        kind = tflite.BuiltinOptions.FullyConnectedOptions
    else:
        tflite.ReshapeOptionsStart(builder)
        options = tflite.ReshapeOptionsEnd(builder)
        kind = tflite.BuiltinOptions.ReshapeOptions
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, taken)
    tflite.OperatorAddOutputs(builder, given)
    tflite.OperatorAddBuiltinOptionsType(builder, kind)
    tflite.OperatorAddBuiltinOptions(builder, options)
    return tflite.OperatorEnd(builder)


def _code(builder: flatbuffers.Builder, code: int) -> int:
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
    tflite.OperatorCodeAddVersion(builder, 1)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    return tflite.OperatorCodeEnd(builder)


def _model(
    builder: flatbuffers.Builder,
    tensors: list[int],
    operators: list[int],
    outputs: tuple[int, ...],
    contents: list[bytes],
) -> bytes:
    vector, ints = make_models._vector, make_models._ints
    all_tensors, all_operators = vector(builder, tensors), vector(builder, operators)
    taken, given = ints(builder, (0,)), ints(builder, outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, all_tensors)
    tflite.SubGraphAddInputs(builder, taken)
    tflite.SubGraphAddOutputs(builder, given)
    tflite.SubGraphAddOperators(builder, all_operators)
    subgraphs = vector(builder, [tflite.SubGraphEnd(builder)])
    codes = [
        _code(builder, code)
        for code in (tflite.BuiltinOperator.FULLY_CONNECTED, tflite.BuiltinOperator.RESHAPE)
    ]
    all_codes = vector(builder, codes)
    buffers = vector(builder, [make_models._buffer(builder, content) for content in contents])
    description = builder.CreateString("discs and bars")
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, all_codes)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddDescription(builder, description)
    tflite.ModelAddBuffers(builder, buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    dy, dx, dh, dw = OFFSETS
    right, wrong = heads(OFFSETS), heads((dx, dy, dw, dh))
    (HERE / "marks.tflite").write_bytes(build([quantized(head) for head in right], tflite.TensorType.UINT8))
    (HERE / "misplaced.tflite").write_bytes(
        build([quantized(head) for head in wrong], tflite.TensorType.UINT8)
    )
    torn = [real(head) for head in right]
    torn[0].bias[6] = np.nan
    (HERE / "torn.tflite").write_bytes(build(torn, tflite.TensorType.FLOAT32))


if __name__ == "__main__":
    main()
