"""The package that the compiler puts into a model: a flatbuffer inside the custom operation's options.

Its schema is libedgetpu's executable/executable.fbs. There is no Python package that reads it, so the few
fields that matter are read here by their place in the schema: field `n` of a table is at vtable offset
`4 + 2 n`. Files are not trusted: nothing is followed outside the bytes given, and nothing copied.
"""

import struct
from enum import IntEnum
from typing import Any

from msgspec import Struct

from fleetctl.errors import BuildError

IDENTIFIER = b"DWN1"
_MAX_EXECUTABLES = 1024  # a package has two, one that fills the cache and one that computes
_MAX_TEXT = 200  # bytes
_BROKEN = (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)

_PACKAGE_KEY = "4"  # of the options, a FlexBuffers map
_MIN_RUNTIME, _EXECUTABLES, _COMPILER = 4, 6, 12  # of table Package
_SERIALIZED = 4  # of table MultiExecutable
_PARAMETERS, _TYPE = 16, 30  # of table Executable


class ExecutableType(IntEnum):
    """What an executable does with its parameters."""

    STAND_ALONE = 0  # sends them with every inference
    PARAMETER_CACHING = 1  # puts them into the chip's memory once
    EXECUTION_ONLY = 2  # computes with those, and sends the ones that did not fit


class Executable(Struct, frozen=True):
    type: ExecutableType
    parameters: int  # bytes


class Package(Struct, frozen=True):
    """What one custom operation carries. `compiler` is the change it was built at; most leave it empty."""

    min_runtime: int
    compiler: str
    executables: tuple[Executable, ...]


def read_package(options: bytes) -> Package:
    """Read the options of an `edgetpu-custom-op`.

    Raises:
        BuildError: they hold no package, or a damaged one.
    """
    from flatbuffers import flexbuffers  # type: ignore[import-untyped]

    try:
        packed = flexbuffers.GetRoot(options).AsMap[_PACKAGE_KEY].AsStringBytes
        return _package(memoryview(packed))
    except _BROKEN as error:
        raise _damaged() from error


def _damaged() -> BuildError:
    return BuildError("the Edge TPU's part of the model is damaged", hint="compile the model again")


def _package(data: memoryview) -> Package:
    if data[4:8] != IDENTIFIER:
        raise _damaged()
    root = _root(data)
    multi = _root(_bytes(root, _EXECUTABLES))
    return Package(
        min_runtime=_integer(root, _MIN_RUNTIME, "Int32Flags"),
        compiler=bytes(_bytes(root, _COMPILER)[:_MAX_TEXT]).decode(errors="replace").removeprefix("cl/"),
        executables=tuple(_executable(_root(each)) for each in _strings(multi, _SERIALIZED)),
    )


def _executable(table: Any) -> Executable:
    kind = ExecutableType(_integer(table, _TYPE, "Int16Flags"))
    return Executable(kind, len(_bytes(table, _PARAMETERS)))


def _root(data: memoryview) -> Any:
    from flatbuffers.table import Table  # type: ignore[import-untyped]

    (start,) = struct.unpack_from("<I", data)
    if not 4 <= start < len(data):
        raise IndexError(start)
    return Table(data, start)


def _integer(table: Any, field: int, flags: str) -> int:
    from flatbuffers import number_types

    offset = table.Offset(field)
    return int(table.Get(getattr(number_types, flags), table.Pos + offset)) if offset else 0


def _bytes(table: Any, field: int) -> memoryview:
    """A vector of bytes or a string; empty where the field is not set."""
    offset = table.Offset(field)
    return _slice(table.Bytes, table.Vector(offset), table.VectorLen(offset)) if offset else memoryview(b"")


def _strings(table: Any, field: int) -> list[memoryview]:
    offset = table.Offset(field)
    count = table.VectorLen(offset) if offset else 0
    if count > _MAX_EXECUTABLES:
        raise IndexError(count)
    starts = (table.Indirect(table.Vector(offset) + 4 * index) for index in range(count))
    return [_slice(table.Bytes, start + 4, *struct.unpack_from("<I", table.Bytes, start)) for start in starts]


def _slice(data: memoryview, start: int, length: int) -> memoryview:
    if start < 0 or start + length > len(data):
        raise IndexError(start)
    return data[start : start + length]
