"""What each input of an operation is for: data, weights, bias, state, or a setting given as a tensor."""

from fleetctl.models.edgetpu.graph import ABSENT, Operation

# Positions of inputs that have to be known when the model is compiled.
_PARAMETERS: dict[str, tuple[int, ...]] = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (0, 1, 3),
    "PRELU": (1,),
    "EXPAND_DIMS": (1,),
    "MEAN": (1,),
    "PAD": (1,),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SLICE": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TRANSPOSE": (1,),
}
_WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}

_LSTM = ("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM")
_LSTM_STATES = (18, 19)  # activation int8, cell int16: kept between inferences

# How many inputs, from the first, an operation cannot do without; 1 where not listed.
_REQUIRED = {
    "ADD": 2,
    "CONV_2D": 2,
    "DEPTHWISE_CONV_2D": 2,
    "EXPAND_DIMS": 2,
    "FULLY_CONNECTED": 2,
    "MAXIMUM": 2,
    "MEAN": 2,
    "MINIMUM": 2,
    "MUL": 2,
    "PAD": 2,
    "PRELU": 2,
    "REDUCE_MAX": 2,
    "REDUCE_MIN": 2,
    "RESIZE_BILINEAR": 2,
    "RESIZE_NEAREST_NEIGHBOR": 2,
    "SLICE": 3,
    "SPLIT": 2,
    "SQUARED_DIFFERENCE": 2,
    "STRIDED_SLICE": 4,
    "SUB": 2,
    "SUM": 2,
    "TRANSPOSE": 2,
    "TRANSPOSE_CONV": 3,
}

# Inputs that set the size of the output: TFLite cannot lay out its memory unless they are constants.
_SIZES: dict[str, tuple[int, ...]] = {
    "BATCH_TO_SPACE_ND": (1, 2),
    "BROADCAST_TO": (1,),
    "EXPAND_DIMS": (1,),
    "FILL": (0,),
    "MEAN": (1,),
    "MIRROR_PAD": (1,),
    "NON_MAX_SUPPRESSION_V4": (2,),
    "NON_MAX_SUPPRESSION_V5": (2,),
    "ONE_HOT": (1,),
    "PAD": (1,),
    "PADV2": (1,),
    "RANGE": (0, 1, 2),
    "REDUCE_MAX": (1,),
    "REDUCE_MIN": (1,),
    "RESHAPE": (1,),
    "RESIZE_BILINEAR": (1,),
    "RESIZE_NEAREST_NEIGHBOR": (1,),
    "SCATTER_ND": (2,),
    "SLICE": (1, 2),
    "SPACE_TO_BATCH_ND": (1, 2),
    "SPARSE_TO_DENSE": (1,),
    "SPLIT": (0,),
    "SPLIT_V": (1, 2),
    "STRIDED_SLICE": (1, 2, 3),
    "SUM": (1,),
    "TILE": (1,),
    "TOPK_V2": (1,),
    "TRANSPOSE": (1,),
    "TRANSPOSE_CONV": (0,),
}


def required(operation: Operation) -> int:
    """How many inputs, from the first, must be there."""
    return _REQUIRED.get(operation.op, 1)


def parameters(operation: Operation) -> list[int]:
    """Tensors that the compiler has to know the values of."""
    if operation.op in _LSTM:
        return [
            tensor
            for position, tensor in enumerate(operation.inputs)
            if position and position not in _LSTM_STATES and tensor != ABSENT
        ]
    return _at(operation, _PARAMETERS.get(operation.op, ()))


def activations(operation: Operation) -> list[int]:
    """Tensors that flow through the operation at run time: its data inputs, then its outputs."""
    settings = _PARAMETERS.get(operation.op, ())
    inputs = operation.inputs[:1] if operation.op in _LSTM else operation.inputs
    data = [tensor for position, tensor in enumerate(inputs) if position not in settings]
    return [tensor for tensor in (*data, *operation.outputs) if tensor != ABSENT]


def data(operation: Operation) -> int:
    """The first input that is data; ABSENT where there is none."""
    settings = _PARAMETERS.get(operation.op, ())
    return next((t for i, t in enumerate(operation.inputs) if i not in settings), ABSENT)


def parameter(operation: Operation, position: int) -> int:
    """The tensor at an input position; ABSENT where the operation leaves it out."""
    return operation.inputs[position] if position < len(operation.inputs) else ABSENT


def weights(operation: Operation) -> int:
    """The weight tensor; ABSENT where the operation has none."""
    return parameter(operation, _WEIGHTS[operation.op]) if operation.op in _WEIGHTS else ABSENT


def bias(operation: Operation) -> int:
    """The bias tensor; ABSENT where the operation has none."""
    return parameter(operation, _BIAS[operation.op]) if operation.op in _BIAS else ABSENT


def sizes(operation: Operation) -> list[int]:
    """Tensors that the size of the output depends on."""
    return _at(operation, _SIZES.get(operation.op, ()))


def _at(operation: Operation, positions: tuple[int, ...]) -> list[int]:
    return [
        operation.inputs[i] for i in positions if i < len(operation.inputs) and operation.inputs[i] != ABSENT
    ]
