"""Reading PyTorch's old checkpoint format: what is in it, and nothing else it may ask for."""

import io
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.errors import BuildError
from fleetctl.models import torch_checkpoint

MAGIC = 0x1950A86A20F9469CFC6C


class FromTorch:
    """Pickles as a reference to something of the torch package, which is not installed here."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Stored:
    """Pickles as the persistent reference that torch writes for a storage."""

    def __init__(self, key: str, count: int) -> None:
        self.pid = ("storage", FromTorch("torch", "FloatStorage"), key, "cpu", count, None)


class Tensor:
    """Pickles as the call that rebuilds a tensor from its storage."""

    def __init__(self, key: str, count: int, offset: int, shape: Any, stride: Any) -> None:
        self.call = (Stored(key, count), offset, shape, stride, False, OrderedDict())


class Writer(pickle._Pickler):  # the Python one, which lets a test write names that cannot be imported
    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Stored) else None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, FromTorch):
            self.write(f"c{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.save(FromTorch("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.call)
            self.write(b"R")
        else:
            super().save(obj, save_persistent_id)


def checkpoint(tensors: dict[str, Any], storages: dict[str, list[float]], magic: int = MAGIC) -> bytes:
    stream = io.BytesIO()
    for part in (magic, 1001, {"little_endian": True}, tensors, list(storages)):
        Writer(stream, protocol=2).dump(part)
    for values in storages.values():
        stream.write(len(values).to_bytes(8, "little") + np.array(values, "<f4").tobytes())
    return stream.getvalue()


NUMBERS = [float(n) for n in range(12)]


def test_tensors_keep_their_names_shapes_and_strides() -> None:
    """Two views of one storage, one of them transposed, come out as PyTorch would show them."""
    plain = Tensor("0", 12, 0, (2, 3), (3, 1))
    turned = Tensor("0", 12, 6, (2, 3), (1, 2))

    found = torch_checkpoint.read(checkpoint({"plain": plain, "turned": turned}, {"0": NUMBERS}))

    assert [[0, 1, 2], [3, 4, 5]] == found["plain"].tolist()
    assert [[6, 8, 10], [7, 9, 11]] == found["turned"].tolist()


def test_a_checkpoint_that_would_run_something_is_refused(tmp_path: Path) -> None:
    """The pickle names a function that touches a file; it is refused by name, and the file is not there."""

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    with pytest.raises(BuildError, match="which is no tensor"):
        torch_checkpoint.read(checkpoint({"harm": Harm()}, {}))

    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (Tensor("0", 12, 0, (5, 3), (3, 1)), "beyond its storage"),
        (Tensor("0", 12, 11, (2,), (1,)), "beyond its storage"),
        (Tensor("0", 12, -1, (2,), (1,)), "beyond its storage"),
        (Tensor("0", 12, 4, (2,), (-1,)), "beyond its storage"),
        (Tensor("0", 12, 0, (10**9, 10**9), (0, 0)), "beyond its storage"),
        (Tensor("1", 12, 0, (2,), (1,)), "not a PyTorch checkpoint"),
        (3, "not a PyTorch checkpoint"),
    ],
)
def test_tensors_stay_inside_their_storage(tensor: Any, message: str) -> None:
    """A shape that reaches outside, backwards, or far more often than there are numbers is refused."""
    with pytest.raises(BuildError, match=message):
        torch_checkpoint.read(checkpoint({"tensor": tensor}, {"0": NUMBERS}))


def test_another_file_is_refused() -> None:
    """A pickle that is no checkpoint is told from one."""
    with pytest.raises(BuildError, match="it does not start as one"):
        torch_checkpoint.read(checkpoint({}, {}, magic=7))


WHOLE = checkpoint({"plain": Tensor("0", 12, 0, (2, 3), (3, 1))}, {"0": NUMBERS})


@given(st.integers(0, len(WHOLE) - 1))
def test_a_checkpoint_cut_short_is_refused(length: int) -> None:
    """Wherever a download broke off, there is one error."""
    with pytest.raises(BuildError, match="not a PyTorch checkpoint"):
        torch_checkpoint.read(WHOLE[:length])


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_damage_ends_in_tensors_or_in_one_error(place: int, change: int) -> None:
    """A byte changed anywhere gives other numbers or the one error, never a traceback."""
    damaged = bytearray(WHOLE)
    damaged[place] ^= change

    try:
        found = torch_checkpoint.read(bytes(damaged))
    except BuildError:
        return
    assert all(value.size <= len(WHOLE) for value in found.values())
