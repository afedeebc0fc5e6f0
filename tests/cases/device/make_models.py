"""Write the tiny models that the board's tests serve: `python tests/cases/device/make_models.py`.

Both say which quadrant of a 16x16 grey picture is the brightest: one fully connected layer whose weights
average each quadrant. `quadrants.tflite` is uint8 and exact; `poisoned.tflite` is float32 and has a NaN among
its weights.
"""

from pathlib import Path

import flatbuffers
import numpy as np
import tflite

HERE = Path(__file__).parent
SIDE, LABELS = 16, 4


def quadrant_weights() -> np.ndarray:
    """uint8 (4, 256): one where a pixel lies in the quadrant."""
    weights = np.zeros((LABELS, SIDE, SIDE), np.uint8)
    half = SIDE // 2
    for index in range(LABELS):
        top, left = half * (index // 2), half * (index % 2)
        weights[index, top : top + half, left : left + half] = 1
    return weights.reshape(LABELS, -1)


def build(weights: np.ndarray, bias: np.ndarray, kind: int, scales: tuple[float, float, float]) -> bytes:
    """A model of one FULLY_CONNECTED; scales of input, weights and output, 0 for float32."""
    builder = flatbuffers.Builder(4096)
    bias_kind = tflite.TensorType.INT32 if scales[0] else tflite.TensorType.FLOAT32
    input_scale, weight_scale, output_scale = scales
    tensors = [
        _tensor(builder, "image", (1, SIDE, SIDE, 1), kind, 0, input_scale),
        _tensor(builder, "weights", weights.shape, kind, 1, weight_scale),
        _tensor(builder, "bias", bias.shape, bias_kind, 2, input_scale * weight_scale),
        _tensor(builder, "scores", (1, LABELS), kind, 0, output_scale),
    ]
    subgraph = _subgraph(builder, tensors, _operator(builder))
    buffers = [_buffer(builder, b""), _buffer(builder, weights.tobytes()), _buffer(builder, bias.tobytes())]
    return _model(builder, subgraph, buffers)


def _vector(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _ints(builder: flatbuffers.Builder, values: tuple[int, ...]) -> int:
    return builder.CreateNumpyVector(np.array(values, np.int32))


def _buffer(builder: flatbuffers.Builder, data: bytes) -> int:
    content = builder.CreateNumpyVector(np.frombuffer(data, np.uint8)) if data else 0
    tflite.BufferStart(builder)
    if content:
        tflite.BufferAddData(builder, content)
    return tflite.BufferEnd(builder)


def _tensor(
    builder: flatbuffers.Builder,
    name: str,
    shape: tuple[int, ...],
    kind: int,
    buffer: int,
    scale: float,
    zero_point: int = 0,
) -> int:
    label, sides, quantization = builder.CreateString(name), _ints(builder, shape), 0
    if scale:
        scales = builder.CreateNumpyVector(np.array([scale], np.float32))
        zeros = builder.CreateNumpyVector(np.array([zero_point], np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scales)
        tflite.QuantizationParametersAddZeroPoint(builder, zeros)
        quantization = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, sides)
    tflite.TensorAddType(builder, kind)
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, label)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    return tflite.TensorEnd(builder)


def _operator(builder: flatbuffers.Builder) -> int:
    inputs, outputs = _ints(builder, (0, 1, 2)), _ints(builder, (3,))
    tflite.FullyConnectedOptionsStart(builder)
    options = tflite.FullyConnectedOptionsEnd(builder)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, 0)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    tflite.OperatorAddBuiltinOptionsType(builder, tflite.BuiltinOptions.FullyConnectedOptions)
    tflite.OperatorAddBuiltinOptions(builder, options)
    return tflite.OperatorEnd(builder)


def _subgraph(builder: flatbuffers.Builder, tensors: list[int], operator: int) -> int:
    all_tensors, operators = _vector(builder, tensors), _vector(builder, [operator])
    inputs, outputs = _ints(builder, (0,)), _ints(builder, (3,))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, all_tensors)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators)
    return tflite.SubGraphEnd(builder)


def _model(builder: flatbuffers.Builder, subgraph: int, buffers: list[int]) -> bytes:
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, tflite.BuiltinOperator.FULLY_CONNECTED)
    tflite.OperatorCodeAddVersion(builder, 1)
    tflite.OperatorCodeAddBuiltinCode(builder, tflite.BuiltinOperator.FULLY_CONNECTED)
    codes = _vector(builder, [tflite.OperatorCodeEnd(builder)])
    subgraphs, all_buffers = _vector(builder, [subgraph]), _vector(builder, buffers)
    description = builder.CreateString("brightest quadrant")
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes)
    tflite.ModelAddSubgraphs(builder, subgraphs)
    tflite.ModelAddDescription(builder, description)
    tflite.ModelAddBuffers(builder, all_buffers)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    weights = quadrant_weights()
    pixels = SIDE * SIDE // LABELS
    exact = build(
        weights, np.zeros(LABELS, np.int32), tflite.TensorType.UINT8, (1.0, 1 / (pixels * 255), 1 / 255)
    )
    (HERE / "quadrants.tflite").write_bytes(exact)
    real = weights.astype(np.float32) / (pixels * 255)
    real[2, 0] = np.nan
    poisoned = build(real, np.zeros(LABELS, np.float32), tflite.TensorType.FLOAT32, (0.0, 0.0, 0.0))
    (HERE / "poisoned.tflite").write_bytes(poisoned)


if __name__ == "__main__":
    main()
