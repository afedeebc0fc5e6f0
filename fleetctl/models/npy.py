"""Arrays as `.npy` bytes: a pure function of the array, and nothing in them is ever executed."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray


def npy(array: NDArray[Any]) -> bytes:
    """The bytes of a `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def load_npy(data: bytes) -> NDArray[Any]:
    """The array in the bytes of a `.npy` file.

    Raises:
        ValueError: the bytes are something else.
    """
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    return array
