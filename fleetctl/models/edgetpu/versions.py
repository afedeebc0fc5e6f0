"""Which operation versions the Edge TPU compiler can read at all.

Compiler 16.0 contains a TFLite of mid-2021, the one of TensorFlow 2.5, and rejects a model whole if one of
its operations is newer. The numbers are those of TensorFlow's own table of the first runtime of each version
(tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc), cut at 2.5.0. What 2.6 added is left out:
whether the compiler has it is not known.
"""

# One line an operation whose newest version is not 1.
_NEWEST = {
    "ABS": 3,
    "ADD": 3,
    "ARG_MAX": 2,
    "ARG_MIN": 2,
    "AVERAGE_POOL_2D": 3,
    "BATCH_MATMUL": 4,
    "BATCH_TO_SPACE_ND": 3,
    "BIDIRECTIONAL_SEQUENCE_LSTM": 3,
    "BIDIRECTIONAL_SEQUENCE_RNN": 3,
    "BROADCAST_TO": 3,
    "CONCATENATION": 3,
    "CONV_2D": 5,
    "DEPTHWISE_CONV_2D": 6,
    "DEPTH_TO_SPACE": 2,
    "DEQUANTIZE": 4,
    "DIV": 2,
    "EMBEDDING_LOOKUP": 3,
    "EQUAL": 3,
    "FAKE_QUANT": 2,
    "FILL": 3,
    "FLOOR_DIV": 2,
    "FULLY_CONNECTED": 9,
    "GATHER": 5,
    "GATHER_ND": 3,
    "GREATER": 2,
    "GREATER_EQUAL": 2,
    "L2_NORMALIZATION": 2,
    "LEAKY_RELU": 2,
    "LESS": 2,
    "LESS_EQUAL": 2,
    "LOGISTIC": 3,
    "LOG_SOFTMAX": 2,
    "LSTM": 4,
    "MAXIMUM": 4,
    "MAX_POOL_2D": 3,
    "MEAN": 3,
    "MINIMUM": 4,
    "MIRROR_PAD": 2,
    "MUL": 4,
    "NOT_EQUAL": 3,
    "PACK": 3,
    "PAD": 3,
    "PADV2": 3,
    "QUANTIZE": 2,
    "REDUCE_MAX": 3,
    "REDUCE_MIN": 3,
    "RELU": 3,
    "RELU6": 3,
    "RESIZE_BILINEAR": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "REVERSE_V2": 3,
    "RNN": 3,
    "RSQRT": 2,
    "SELECT": 2,
    "SLICE": 5,
    "SOFTMAX": 3,
    "SPACE_TO_BATCH_ND": 3,
    "SPACE_TO_DEPTH": 2,
    "SPARSE_TO_DENSE": 3,
    "SPLIT": 4,
    "SPLIT_V": 2,
    "SQUARED_DIFFERENCE": 2,
    "SQUEEZE": 2,
    "STRIDED_SLICE": 5,
    "SUB": 5,
    "SUM": 2,
    "SVDF": 4,
    "TANH": 3,
    "TILE": 2,
    "TOPK_V2": 2,
    "TRANSPOSE": 5,
    "TRANSPOSE_CONV": 3,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 3,
    "UNIDIRECTIONAL_SEQUENCE_RNN": 3,
    "UNPACK": 4,
}

# Built in since; TFLite 2.5 cannot read a model that has one.
_YOUNGER = frozenset(
    [
        "ASSIGN_VARIABLE",
        "ATAN2",
        "BITCAST",
        "BITWISE_XOR",
        "BROADCAST_ARGS",
        "BUCKETIZE",
        "CONV_3D_TRANSPOSE",
        "DILATE",
        "DYNAMIC_UPDATE_SLICE",
        "GELU",
        "MULTINOMIAL",
        "RANDOM_STANDARD_NORMAL",
        "RANDOM_UNIFORM",
        "READ_VARIABLE",
        "REDUCE_ALL",
        "REDUCE_WINDOW",
        "RELU_0_TO_1",
        "RIGHT_SHIFT",
        "SIGN",
        "UNSORTED_SEGMENT_MAX",
        "UNSORTED_SEGMENT_MIN",
        "UNSORTED_SEGMENT_PROD",
        "UNSORTED_SEGMENT_SUM",
        "VAR_HANDLE",
    ]
)

# Custom operations that the compiler has kernels for; it needs one of each to load a model.
KNOWN_CUSTOM = frozenset(
    f"CUSTOM:{name}"
    for name in (
        "TFLite_Detection_PostProcess",
        "PosenetDecoderOp",
        "AudioSpectrogram",
        "Mfcc",
        "NumericVerify",
    )
)


def newest(op: str) -> int:
    """The newest version of an operation that TFLite 2.5 has; 0 where it has none."""
    if op in _YOUNGER or op.startswith(("UNKNOWN:", "STABLEHLO_")):
        return 0
    if op.startswith("CUSTOM:"):
        return 1 if op in KNOWN_CUSTOM else 0
    return _NEWEST.get(op, 1)
