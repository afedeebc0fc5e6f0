"""A real build, stopped again and again by the command line's user, a service manager, and a power cut."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from long_matrices import takes

pytestmark = pytest.mark.e2e
long = takes("minutes of training")

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  tiny:
    task: classification
    dataset: {kind: rendered, samples_per_sign: 16, signs: [N5, N35, O49]}
    architecture: {name: mobilenet_v2, alpha: 0.35, input: [32, 32, 1]}
    training: {epochs: 60, batch_size: 8}
    variants: [float32, int8]
    smoke: {samples: 4}
boards:
  luxor-01: {board: raspberrypi4, model: tiny, host: 192.0.2.1}
rollout: {waves: [{percent: 100}]}
"""
BUILD = [sys.executable, "-m", "fleetctl", "build"]


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """A shell starts what it runs in the background deaf to SIGINT, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def fleet(root: Path) -> Path:
    """A fleet whose model was never built."""
    manifest = root / "inventory" / "fleet.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(MANIFEST)
    return root


def built(root: Path) -> tuple[bytes, float]:
    """The lock that a build to the end leaves, and how many seconds it took."""
    start = time.monotonic()
    subprocess.run(BUILD, cwd=root, check=True, capture_output=True)
    return (root / "model_artifacts" / "fleet.lock").read_bytes(), time.monotonic() - start


def stopped(root: Path, sent: signal.Signals, after: float) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a build that gets a signal some seconds after it
    first said something.
    """
    with subprocess.Popen(
        BUILD, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        time.sleep(after)
        process.send_signal(sent)
        out, err = process.communicate()
    return process.returncode, out, first + err


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_says_what_became_of_it(
    tmp_path: Path, sent: signal.Signals, status: int
) -> None:
    """Nothing is locked, nothing is lost, and the same command goes on."""
    ended, out, err = stopped(fleet(tmp_path), sent, after=0.0)

    assert (status, "") == (ended, out)
    assert "interrupted: the lock is as it was; what was finished is kept: run this again to go on" in err


@long
def test_a_build_interrupted_anywhere_ends_as_if_it_was_not(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM and SIGKILL at every stage: exit 130, 143, -9, no traceback, and the same lock at last.

    The two fleets lie in different folders, so this also shows that a build is a function of its recipe.
    """
    expected, whole = built(fleet(tmp_path / "reference"))
    root = fleet(tmp_path / "interrupted")
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL] * 3
    met = []
    for number, sent in enumerate(signals):
        status, out, err = stopped(root, sent, after=whole * number / len(signals))
        if status == 0:
            break
        met.append((status, out))
        assert {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[sent] == status, err
        assert "" == out
        assert "Traceback" not in err
        assert not (root / "model_artifacts" / "fleet.lock").exists()

    assert len(met) >= 3
    assert expected == built(root)[0]


@long
def test_a_training_that_was_stopped_says_where_it_goes_on(tmp_path: Path) -> None:
    """The step it had reached, and the same artifacts as without the interruption."""
    root = fleet(tmp_path / "interrupted")
    with subprocess.Popen(BUILD, cwd=root, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not re.search(r"tiny: train +\d", process.stderr.readline()):  # some steps are behind it
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
    (checkpoint,) = root.glob(".fleetctl/build/*/train-0.checkpoint")
    assert process.returncode == 130

    again = subprocess.run([*BUILD, "--output", "json"], cwd=root, check=True, capture_output=True, text=True)

    assert re.search(r"tiny: train, resumed at step \d+ of 300", again.stderr)
    assert not checkpoint.exists()
    expected, _ = built(fleet(tmp_path / "reference"))
    assert json.loads(again.stdout)["models"]["tiny"]["built"]
    assert expected == (root / "model_artifacts" / "fleet.lock").read_bytes()
