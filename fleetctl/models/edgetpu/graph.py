"""A model as the Edge TPU compiler sees it: operations that read and write tensors, and nothing else.

The rules are written against this and not against the file: they are tested on graphs made by hand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABSENT = -1
"""Where an operation leaves out an optional tensor."""

MAX_SETTING = 256  # bytes of a constant that says how an operation works: paddings of 16 dimensions, in INT64
MAX_ZEROS = 1024 * 1024  # bytes; what thousands of operations can share must be quick to look at

_INTEGERS: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in [("INT32", "<i4"), ("INT64", "<i8"), ("INT8", "i1"), ("UINT8", "u1")]
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `dtype` is TFLite's name, such as INT8; `scales` counts its quantization scales (0: none).

    `data` are the bytes of a constant, little-endian; empty where values come at run time.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    constant: bool = False
    variable: bool = False  # state kept from one inference to the next
    scales: int = 0
    zero_point: int = 0
    data: bytes | memoryview = field(default=b"", repr=False, compare=False)

    def integers(self) -> NDArray[np.int64] | None:
        """The values of a constant that is a setting, flat; None where they are not known, or too many."""
        dtype = _INTEGERS.get(self.dtype)
        if dtype is None or not 0 < len(self.data) <= MAX_SETTING or len(self.data) % dtype.itemsize:
            return None
        return np.frombuffer(self.data, dtype).astype(np.int64)

    def is_zero(self) -> bool:
        """Whether every value of a quantized constant stands for zero. Not looked into beyond 1 MiB."""
        if not 0 < len(self.data) <= MAX_ZEROS:
            return False
        return bool((np.frombuffer(self.data, np.uint8) == self.zero_point % 256).all())


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. `op` is TFLite's name, such as CONV_2D; a custom one is `CUSTOM:` and its own name.

    `inputs` and `outputs` are positions in the graph's tensors, `ABSENT` for an optional one left out.
    `options` hold the settings that rules ask for, under the schema's names.
    """

    op: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int] = field(default_factory=dict)
    custom: bytes | memoryview = field(default=b"", repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """One subgraph of a model. Operations come in the order of the file, in which they can run."""

    tensors: tuple[Tensor, ...]
    operations: tuple[Operation, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def producers(self) -> dict[int, int]:
        """Tensor -> the operation that writes it."""
        return {
            tensor: i for i, op in enumerate(self.operations) for tensor in op.outputs if tensor != ABSENT
        }

    def layer(self, index: int) -> str:
        """The name a person knows operation `index` by: that of the first tensor it writes."""
        written = [tensor for tensor in self.operations[index].outputs if tensor != ABSENT]
        return self.tensors[written[0]].name if written else ""
