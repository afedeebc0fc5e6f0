"""Which operation versions the Edge TPU compiler can read at all.

Compiler 16.0 contains a TFLite of mid-2021, the one of TensorFlow 2.5, and rejects a model whole if one of
its operations is newer. What TensorFlow 2.6 added counts as newer: whether the compiler has it is not known.
"""

from fleetctl.compatibility.operations import newest_version, table
from fleetctl.compatibility.versions import Version

TFLITE = Version(2, 5)
"""The TFLite inside the compiler."""

KNOWN_CUSTOM = frozenset(
    f"CUSTOM:{name}"
    for name in (
        "AudioSpectrogram",
        "Mfcc",
        "NumericVerify",
        "PosenetDecoderOp",
        "TFLite_Detection_PostProcess",
    )
)
"""Custom operations that the compiler has kernels for: without one it cannot load a model."""

# Built in since TensorFlow 2.15, under names that the table of releases does not go up to.
_YOUNG = ("UNKNOWN:", "STABLEHLO_")


def newest(operation: str) -> int:
    """The newest version of an operation that the compiler reads; 0 where it knows none."""
    if operation.startswith("CUSTOM:"):
        return 1 if operation in KNOWN_CUSTOM else 0
    if operation in table():
        return newest_version(operation, TFLITE) or 0
    return 0 if operation.startswith(_YOUNG) else 1
