"""Holds the tensors that a contract describes against those that the interpreter found in the model."""

from __future__ import annotations

import math
from typing import Any, Sequence

from .folder import ReleaseRefused
from .runtime import TensorInfo


def check_tensor(end: str, said: Any, found: TensorInfo) -> None:
    """Refuse a tensor that is not the one the contract describes.

    Args:
        end: what to call it: `input` or `output`.
        said: the contract's `{"shape", "dtype", "scale", "zero_point"}`.

    Raises:
        ReleaseRefused: shape, dtype, scale or zero point differ, or the contract does not give them.
    """
    wanted = described(end, said)
    if not is_the_same(wanted, found):
        raise ReleaseRefused(
            "the model's %s is %s, the contract says %s" % (end, shown(found), shown(wanted))
        )


def which(end: str, said: Any, found: Sequence[TensorInfo]) -> int:
    """The place of the one tensor that the contract describes; TFLite converters keep no order of outputs.

    Raises:
        ReleaseRefused: none of them is it, or more than one could be.
    """
    wanted = described(end, said)
    fitting = [place for place, tensor in enumerate(found) if is_the_same(wanted, tensor)]
    if not fitting:
        there = ", ".join(shown(tensor) for tensor in found)
        raise ReleaseRefused("the model has no %s %s, only %s" % (end, shown(wanted), there))
    if len(fitting) > 1:
        raise ReleaseRefused("%d of the model's outputs could be its %s" % (len(fitting), end))
    return fitting[0]


def described(end: str, said: Any) -> TensorInfo:
    """What a contract says of a tensor.

    Raises:
        ReleaseRefused: the description lacks something.
    """
    try:
        return TensorInfo(tuple(said["shape"]), said["dtype"], float(said["scale"]), int(said["zero_point"]))
    except (KeyError, TypeError, ValueError):
        raise ReleaseRefused("the contract does not describe the model's %s" % end) from None


def is_the_same(one: TensorInfo, other: TensorInfo) -> bool:
    """Equal in all but the last digits of the scale, which pass through float32."""
    return math.isclose(one.scale, other.scale, rel_tol=1e-6) and one._replace(scale=other.scale) == other


def shown(tensor: TensorInfo) -> str:
    """A tensor in a sentence."""
    return "%s %s (scale %.6g, zero point %d)" % (
        tensor.dtype,
        list(tensor.shape),
        tensor.scale,
        tensor.zero_point,
    )
