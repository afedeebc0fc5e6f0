"""Reads the tensors of a PyTorch checkpoint without PyTorch, and without running what a pickle may hide.

A checkpoint is a pickle, and a pickle is a program: loading one may run anything. This reader lets the
program name four harmless things (an ordered dictionary, two kinds of storage, the function that shapes a
tensor) and nothing else.

The format is the one `torch.save` wrote before PyTorch 1.6: five pickles one after the other (a magic number,
the protocol version, facts about the machine, the tensors, the keys of their storages), then each storage:
its count of elements as a little-endian int64, and the elements.
"""

import io
import math
import pickle
import struct
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.errors import BuildError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
# What unpickling damaged bytes ends in, and what values of the wrong kind end in afterwards.
_DAMAGE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    MemoryError,
    OverflowError,
)


class _Shaped(Struct, frozen=True):
    """Where a tensor lies: in which storage, from which element on; shape, and strides in elements."""

    key: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(Struct, frozen=True):
    key: str
    dtype: np.dtype[Any]


def read(data: bytes) -> dict[str, NDArray[Any]]:
    """Every tensor of a checkpoint by its name: float32, or int64 where it counts something.

    Raises:
        BuildError: not such a checkpoint, one that asks for anything but tensors, or one cut short.
    """
    stream = io.BytesIO(data)
    try:
        magic, protocol = _Tensors(stream).load(), _Tensors(stream).load()
        if (magic, protocol) != (_MAGIC, _PROTOCOL):
            raise _unusable("it does not start as one")
        _Tensors(stream).load()  # the machine that wrote it
        tensors = _Tensors(stream).load()
        storages = _storages(stream, _Tensors(stream).load(), _dtypes(tensors))
        return {str(name): _shape(tensor, storages) for name, tensor in tensors.items()}
    except _DAMAGE as exc:
        raise _unusable(str(exc) or type(exc).__name__) from None


class _Tensors(pickle._Unpickler):
    """An unpickler that knows tensors and refuses everything else by name.

    The one written in Python: the one in C reserves memory for whatever place damaged bytes tell it to fill.
    """

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind}, which is no storage")
        return _Storage(str(key), dtype)


def _rebuild(storage: _Storage, offset: int, shape: Sequence[int], stride: Sequence[int], *_: Any) -> _Shaped:
    """Stands in for `torch._utils._rebuild_tensor_v2`."""
    return _Shaped(storage.key, storage.dtype, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


_ADMITTED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "FloatStorage"): np.dtype("<f4"),
    ("torch", "LongStorage"): np.dtype("<i8"),
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
}


def _dtypes(tensors: Mapping[str, _Shaped]) -> dict[str, np.dtype[Any]]:
    return {tensor.key: tensor.dtype for tensor in tensors.values()}


def _storages(
    stream: io.BytesIO, keys: Sequence[str], dtypes: Mapping[str, np.dtype[Any]]
) -> dict[str, NDArray[Any]]:
    storages = {}
    for key in keys:
        count = int.from_bytes(stream.read(8), "little", signed=True)
        size = count * dtypes[key].itemsize
        raw = stream.read(max(0, size))
        if count < 0 or len(raw) != size:
            raise _unusable("it is cut short")
        storages[key] = np.frombuffer(raw, dtypes[key])
    return storages


def _shape(tensor: _Shaped, storages: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    storage = storages[tensor.key]
    steps = [(side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True)]
    last = tensor.offset + sum(steps)
    if min(tensor.offset, *tensor.shape, *tensor.strides, last) < 0 or max(
        last + 1, math.prod(tensor.shape)
    ) > len(storage):
        raise _unusable("a tensor reaches beyond its storage")
    size = storage.dtype.itemsize
    strides = tuple(stride * size for stride in tensor.strides)
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides, writeable=False)
    return np.array(view)


def _unusable(why: str) -> BuildError:
    return BuildError(f"this is not a PyTorch checkpoint that can be read: {why}")
