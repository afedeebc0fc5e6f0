"""A training that was interrupted ends with the weights of one that was not, bit for bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from full_disk import longest_file
from long_matrices import first_of, takes
from msgspec.structs import replace
from tiny_training import SHORT, STEPS, Weights, fitted, tiny_network

from fleetctl.errors import BuildError, WriteError
from fleetctl.models import checkpoints
from fleetctl.models.checkpoints import Checkpoint, Resumable
from fleetctl.models.progress import Progress
from fleetctl.models.tensorflow import tensorflow
from fleetctl.store import atomic_write

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

PROGRAM = Path(__file__).parents[1] / "tiny_training.py"


@pytest.fixture(scope="module")
def uninterrupted() -> Weights:
    """What the tiny training ends with when nobody disturbs it, and no checkpoint is written."""
    return fitted()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "train.checkpoint")


def alike(one: Weights, other: Weights) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def stops_at(step: int, error: type[BaseException] = KeyboardInterrupt) -> Progress:
    def progress(stage: str, done: int, total: int) -> None:
        del stage, total
        if done == step:
            raise error

    return progress


@pytest.mark.parametrize("error", first_of([SystemExit, KeyboardInterrupt]))
def test_an_interrupted_training_goes_on(
    checkpoint: Checkpoint, uninterrupted: Weights, error: type[BaseException]
) -> None:
    """Stopped twice, it takes up the very step it had reached, says so, and ends with the same weights."""
    for step in (7, 12):
        with pytest.raises(error):
            fitted(progress=stops_at(step, error), checkpoint=checkpoint)
    told: list[tuple[str, int, int]] = []

    weights = fitted(progress=lambda *news: told.append(news), checkpoint=checkpoint)

    stage = "train, resumed at step 12 of 20"
    assert [(stage, step, STEPS) for step in range(12, STEPS + 1)] == told
    assert alike(uninterrupted, weights)


def test_a_killed_training_goes_on(tmp_path: Path, uninterrupted: Weights) -> None:
    """SIGKILL in the middle of the work costs what came after the last checkpoint, and changes nothing."""
    arguments = [sys.executable, str(PROGRAM), str(tmp_path / "train.checkpoint")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as victim:
        assert victim.stdout is not None
        reached = 0
        for reached, _ in enumerate(victim.stdout):  # the first line is of no step
            if reached == 9:
                victim.kill()

    again = subprocess.run(arguments, capture_output=True, text=True, check=True)

    assert 9 <= reached < STEPS
    first = again.stdout.splitlines()[0]
    assert first in [f"train, resumed at step {step} of 20: {step} of 20" for step in (reached, reached + 1)]
    with np.load(tmp_path / "train.npz") as found:
        assert alike(uninterrupted, [found[name] for name in found.files])


def test_a_failed_step_is_not_kept(checkpoint: Checkpoint, uninterrupted: Weights) -> None:
    """After an exception the state may be half a step: the checkpoint before it is what counts."""
    frequent = replace(checkpoint, every=0.0)
    with pytest.raises(RuntimeError):
        fitted(progress=stops_at(7, RuntimeError), checkpoint=frequent)
    told: list[int] = []

    weights = fitted(progress=lambda _, done, __: told.append(done), checkpoint=frequent)

    assert told[0] == 7
    assert alike(uninterrupted, weights)


def test_a_finished_training_is_not_repeated(checkpoint: Checkpoint, uninterrupted: Weights) -> None:
    """Stopped after the last step, what is left to do is nothing."""
    with pytest.raises(KeyboardInterrupt):
        fitted(progress=stops_at(STEPS), checkpoint=checkpoint)
    told: list[int] = []

    weights = fitted(progress=lambda _, done, __: told.append(done), checkpoint=checkpoint)

    assert [] == told
    assert alike(uninterrupted, weights)


@pytest.mark.parametrize("harm", first_of(["of another network", "torn", "flipped", "emptied", "foreign"], 2))
def test_a_checkpoint_that_is_not_ours_is_ignored(
    checkpoint: Checkpoint, uninterrupted: Weights, harm: str
) -> None:
    """Training begins again rather than going on from bytes that nobody can vouch for."""
    with pytest.raises(KeyboardInterrupt):
        fitted(progress=stops_at(7), checkpoint=checkpoint)
    data = checkpoint.path.read_bytes()
    match harm:
        case "torn":
            data = data[: len(data) // 2]
        case "flipped":
            data = data[:2000] + bytes([data[2000] ^ 1]) + data[2001:]
        case "emptied":
            data = b""
        case "foreign":
            values = [np.zeros(1)]
            data = checkpoints.encode("another training", values)
        case _:
            body = data.partition(b"\n")[2]
            data = checkpoints.encode(training_named_in(body), [np.zeros(1)])
    checkpoint.path.write_bytes(data)
    told: list[tuple[str, int, int]] = []

    weights = fitted(progress=lambda *news: told.append(news), checkpoint=checkpoint)

    assert told[0] == ("train", 0, STEPS)
    assert alike(uninterrupted, weights)


def training_named_in(body: bytes) -> str:
    import io

    with np.load(io.BytesIO(body)) as archive:
        return str(archive["training"])


@pytest.mark.parametrize(
    "change", first_of([{"learning_rate": 0.02}, {"seed": 1}, {"epochs": 5}, {"batch_size": 4}])
)
def test_another_training_does_not_go_on_from_it(checkpoint: Checkpoint, change: dict[str, float]) -> None:
    """What the steps are a function of is part of what the checkpoint is named by."""
    with pytest.raises(KeyboardInterrupt):
        fitted(progress=stops_at(2), checkpoint=checkpoint)
    told: list[int] = []

    with pytest.raises(KeyboardInterrupt):
        fitted(
            replace(SHORT, **change),  # type: ignore[arg-type]
            lambda _, done, __: (told.append(done), stops_at(1)("", done, 0))[0],
            checkpoint,
        )

    assert [0, 1] == told


def test_the_state_is_written_every_so_often(checkpoint: Checkpoint) -> None:
    """Not after each step: writing it takes time too."""
    times = iter([0.0, 10.0, 29.0, 31.0, 31.0, 40.0, 62.0, 62.0])
    network = tiny_network()
    optimizer = tensorflow().keras.optimizers.SGD()
    state = Resumable(network, optimizer, "tiny", checkpoint, clock=lambda: next(times))
    written = []

    for step in range(1, 6):
        optimizer.iterations.assign(step)
        state.stepped()
        again = Resumable(tiny_network(), tensorflow().keras.optimizers.SGD(), "tiny", checkpoint)
        written.append(again.step)

    assert [0, 0, 3, 3, 5] == written


def test_a_full_disk_stops_the_training_and_keeps_the_state(checkpoint: Checkpoint) -> None:
    """What was written before is still there, and the message names the file."""
    with pytest.raises(KeyboardInterrupt):
        fitted(progress=stops_at(3), checkpoint=checkpoint)
    before = checkpoint.path.read_bytes()

    with longest_file(1000), pytest.raises(WriteError, match=f"cannot write {checkpoint.path}: File too"):
        fitted(checkpoint=replace(checkpoint, every=0.0))

    assert before == checkpoint.path.read_bytes()
    assert [checkpoint.path] == list(checkpoint.path.parent.iterdir())


def test_an_interrupt_is_an_interrupt_even_on_a_full_disk(checkpoint: Checkpoint) -> None:
    """Who presses Ctrl-C is told of that, not of the disk."""
    with longest_file(1000), pytest.raises(KeyboardInterrupt):
        fitted(progress=stops_at(3), checkpoint=checkpoint)

    assert not checkpoint.path.exists()


def test_a_diverged_training_leaves_no_checkpoint(checkpoint: Checkpoint) -> None:
    """Weights that are no numbers are no state to go on from; the message says when it happened."""
    with pytest.raises(BuildError, match=r"the loss became (nan|inf) at step \d+ of 20"):
        fitted(replace(SHORT, learning_rate=1e30), checkpoint=replace(checkpoint, every=0.0))

    assert not checkpoint.path.exists()


@takes("some seconds of training")
def test_dropout_goes_on_too(checkpoint: Checkpoint) -> None:
    """A random layer goes on drawing where it stopped, if its numbers come from a variable."""
    backend = tensorflow().keras.backend.experimental
    backend.enable_tf_random_generator()
    try:
        whole = fitted(dropout=True)
        with pytest.raises(KeyboardInterrupt):
            fitted(progress=stops_at(7), checkpoint=checkpoint, dropout=True)
        resumed = fitted(checkpoint=checkpoint, dropout=True)
    finally:
        backend.disable_tf_random_generator()

    assert alike(whole, resumed)


def test_hidden_randomness_is_refused(checkpoint: Checkpoint) -> None:
    """Dropout whose numbers nobody can put back would resume to other weights: better said at once."""
    with pytest.raises(ValueError, match="layer dropout draws random numbers that a checkpoint cannot keep"):
        fitted(checkpoint=checkpoint, dropout=True)


def test_a_loop_of_one_s_own_is_resumed(checkpoint: Checkpoint) -> None:
    """`Resumable` needs no `fit`: a train step of one's own is taken up alike."""
    tf = tensorflow()
    x = tf.constant(np.random.default_rng(1).random((8, 20, 16, 1)), tf.float32)

    def learnt(stop: int | None) -> Weights:
        network, optimizer = tiny_network(), tf.keras.optimizers.AdamW(0.01)
        state = Resumable(network, optimizer, "own", checkpoint)

        @tf.function
        def train_step(scale: object) -> None:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(network(x * scale, training=True)))  # type: ignore[operator]
            variables = network.trainable_variables  # type: ignore[attr-defined]
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

        with state.kept():
            for step in range(state.step, 10):
                if step == stop:
                    raise KeyboardInterrupt
                train_step(tf.constant(1.0 + step))
                state.stepped()
        return [np.asarray(weights) for weights in network.get_weights()]  # type: ignore[attr-defined]

    whole = learnt(None)
    with pytest.raises(KeyboardInterrupt):
        learnt(6)
    assert checkpoint.path.exists()

    assert alike(whole, learnt(None))


def test_bytes_that_only_look_whole_are_ignored(tmp_path: Path) -> None:
    """A digest that fits bytes which are no checkpoint makes them none."""
    path = tmp_path / "train.checkpoint"
    for body in (b"", b"PK\x03\x04 cut short", b"\x93NUMPY"):
        atomic_write(path, checkpoints.sha256(body).encode() + b"\n" + body)

        assert checkpoints.read(path, "any") is None
