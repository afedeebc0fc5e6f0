"""Training that is interrupted goes on where it was, and ends with the very weights it would have had.

A training is a function of its data, its seed and its step, so three things are enough to take it up: the
network's weights, the optimizer's, and which training they belong to. They lie in one file that replaces
itself whole. A file that is torn, altered, or of another training is as good as none.
"""

import contextlib
import io
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from fleetctl.errors import WriteError
from fleetctl.store import atomic_write, sha256

SUFFIX = ".checkpoint"

_TRAINING = "training"


class Checkpoint(Struct, frozen=True):
    """The file that one training keeps its state in, and how many seconds of work it may lose."""

    path: Path
    every: float = 30.0

    def remove(self) -> None:
        """Forget the state, for the training has ended."""
        self.path.unlink(missing_ok=True)


class Resumable:
    """A network and its optimizer, kept in a checkpoint while they learn.

        state = Resumable(network, optimizer, training, checkpoint)
        with state.kept():
            for step in range(state.step, steps):
                train_step(batch(step))  # one tf.function that applies the gradients once
                state.stepped()

    Where there is no checkpoint, nothing is kept and the first step is 0.
    """

    def __init__(
        self,
        network: Any,
        optimizer: Any,
        training: str,
        checkpoint: Checkpoint | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes up what an earlier process left.

        Args:
            network: a Keras model.
            optimizer: a Keras optimizer; it is built here if it was not. It counts the steps.
            training: names, by a digest, everything that the steps are a function of: data, seed, settings.

        Raises:
            ValueError: the network draws random numbers that cannot be put back, see `random_state`.
        """
        optimizer.build(network.trainable_variables)
        self._optimizer = optimizer
        hidden = random_state(network) if checkpoint is not None else []
        self._variables = [*network.weights, *hidden, *optimizer.variables]
        self._training = training
        self._checkpoint = checkpoint
        self._clock = clock
        self._restore()
        self._kept_step = self.step
        self._kept_at = clock()

    @property
    def step(self) -> int:
        """How many steps are done. The optimizer counts, in the same graph that changes the weights: an
        interrupt that falls between a step and its bookkeeping cannot part the two.
        """
        return int(self._optimizer.iterations.numpy())

    def stepped(self) -> None:
        """Call after each step: writes the state down once it is time.

        Raises:
            WriteError: it cannot be written; what was written before is still there.
        """
        if self._checkpoint is not None and self._clock() - self._kept_at >= self._checkpoint.every:
            self._keep()

    def ended(self) -> None:
        """Call after the last step: what comes next may take long, or be the training of another network.

        Raises:
            WriteError: as `stepped`.
        """
        self._keep()

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Write the state down when Ctrl-C or SIGTERM ends the block.

        After any other exception it is not: an operation that failed may have left half of a step.
        """
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            # What was asked for is to stop. If the state cannot be written, the one before it stands.
            with contextlib.suppress(WriteError):
                self._keep()
            raise

    def remove(self) -> None:
        """Forget the state."""
        if self._checkpoint is not None:
            self._checkpoint.remove()

    def _keep(self) -> None:
        step = self.step
        if self._checkpoint is not None and step != self._kept_step:
            values = [variable.numpy() for variable in self._variables]
            atomic_write(self._checkpoint.path, encode(self._training, values))
            self._kept_step = step
        self._kept_at = self._clock()

    def _restore(self) -> None:
        values = None if self._checkpoint is None else read(self._checkpoint.path, self._training)
        if values is not None and _fit(values, self._variables):
            for variable, value in zip(self._variables, values, strict=True):
                variable.assign(value)


def random_state(network: Any) -> list[Any]:
    """The variables that a network's random layers (dropout) draw from.

    Raises:
        ValueError: a layer's random numbers come from inside an operation, where nobody can put them back.
            Call `tf.keras.backend.experimental.enable_tf_random_generator()` before the network is made, or
            draw in the input pipeline from the seed and the step.
    """
    found = []
    for layer in network._flatten_layers():  # Keras has no public name for nested ones
        source = getattr(layer, "_random_generator", None)
        if source is None:
            continue
        generator = getattr(source, "_generator", None)
        if generator is None:
            raise ValueError(f"layer {layer.name} draws random numbers that a checkpoint cannot keep")
        found.append(generator.state)
    return found


def encode(training: str, values: Sequence[NDArray[Any]]) -> bytes:
    """A checkpoint's bytes: the sha256 of what follows, a newline, and a `.npz` of the arrays in order."""
    stream = io.BytesIO()
    arrays: Mapping[str, Any] = {f"{number:05d}": value for number, value in enumerate(values)}
    np.savez(stream, **{_TRAINING: np.array(training)}, **arrays)
    body = stream.getvalue()
    return sha256(body).encode() + b"\n" + body


def read(path: Path, training: str) -> list[NDArray[Any]] | None:
    """The arrays of a checkpoint; None where there is none that is whole and of this training."""
    try:
        digest, _, body = path.read_bytes().partition(b"\n")
        if digest != sha256(body).encode():
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            if str(archive[_TRAINING]) != training:
                return None
            return [archive[name] for name in sorted(archive.files) if name != _TRAINING]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _fit(values: Sequence[NDArray[Any]], variables: Sequence[Any]) -> bool:
    kinds = [(value.shape, value.dtype) for value in values]
    return kinds == [(tuple(v.shape), v.dtype.as_numpy_dtype) for v in variables]
