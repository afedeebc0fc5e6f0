"""Where a result goes: a full disk, a stream that was closed, an output that cannot hold every character."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "cases" / "manifest"


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid fleet, one board of which is configured in words that need more than Latin letters."""
    monkeypatch.chdir(tmp_path)
    manifest = Path("inventory/fleet.yaml")
    manifest.parent.mkdir()
    board = 'luxor-09: {board: raspberrypi4, model: reader, host: 192.0.2.9, config: {what: "é → ʿ"}}'
    Path("inventory/more.yaml").write_text(f"boards:\n  {board}\n", "utf-8")
    text = (CASES / "base.yaml").read_text()
    manifest.write_text(text.replace("kind: Fleet\n", "kind: Fleet\ninclude: [more.yaml]\n"))
    return manifest


def fleetctl(line: str, streams: str = "", **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a command line in a shell that has changed its streams, such as by `>&-`."""
    words = ["exec", sys.executable, "-m", "fleetctl", *shlex.split(line)]
    return subprocess.run(
        ["sh", "-c", f"{shlex.join(words)} {streams}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "FLEETCTL_TRANSPORT": "fake", "LC_ALL": "C.UTF-8", **environ},
        timeout=60,
        check=False,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here is full on demand")
@pytest.mark.parametrize(
    "line", ["--help", "--version", "validate", "explain luxor-09 -o json", "plan --help"]
)
def test_a_full_disk_is_one_sentence(line: str) -> None:
    """Nothing that anybody would have to report: it names what is wrong, whatever was to be printed."""
    said = fleetctl(line, ">/dev/full")

    assert 70 == said.returncode
    assert said.stderr.startswith("error: the output cannot be written: No space left on device\nhint: ")
    assert 2 == said.stderr.count("\n")


@pytest.mark.parametrize("line", ["status", "logs luxor-09", "explain luxor-09"])
def test_a_closed_output_is_no_fault(line: str) -> None:
    """A job that closes standard output wants the exit status alone."""
    said = fleetctl(line, ">&-")

    assert "failed in a way" not in said.stderr
    assert fleetctl(line).returncode == said.returncode


def test_talk_that_nobody_hears_is_not_among_results() -> None:
    """With standard error closed, standard output holds the document and nothing else."""
    said = fleetctl("lab status -o json", "2>&-")

    assert not json.loads(said.stdout)["up"]
    assert (1, "") == (said.returncode, fleetctl("plan", "2>&-").stdout)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_character_that_does_not_fit_is_escaped(encoding: str) -> None:
    """A terminal of another age shows it as an escape; in JSON the value stays what it is."""
    shown = fleetctl("explain luxor-09 config.what", PYTHONIOENCODING=encoding)
    document = json.loads(fleetctl("explain luxor-09 config.what -o json", PYTHONIOENCODING=encoding).stdout)

    assert 0 == shown.returncode, shown.stderr
    assert "\\u2192" in shown.stdout
    assert "é → ʿ" == document["settings"][0]["value"]


INTERRUPTED = """
import os, signal, sys, time
class Interrupted:
    def {method}(self, *_):
        os.kill(os.getpid(), signal.{signal})
        time.sleep(0.2)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            sys.meta_path.remove(self)
            Interrupted()
            type("Made", (), dict(interrupted=Interrupted()))
sys.meta_path.insert(0, Finder())
sys.argv = ["fleetctl", "plan"]
import fleetctl.cli
fleetctl.cli.run()
"""


@pytest.mark.parametrize(
    ("module", "method", "sent"),
    [
        ("fleetctl.cli.quick", "__del__", "SIGINT"),
        ("typer", "__del__", "SIGINT"),
        ("typer", "__set_name__", "SIGINT"),
        ("fleetctl.cli.plan", "__set_name__", "SIGINT"),
        ("fleetctl.cli.plan", "__set_name__", "SIGTERM"),
    ],
)
def test_an_interrupt_while_modules_are_imported_is_no_accident(module: str, method: str, sent: str) -> None:
    """Ctrl-C a moment after the start says nothing, and is exit 130: also where Python would print and lose
    what is raised (`__del__`), or make it an error of its own (`__set_name__`).
    """
    script = INTERRUPTED.format(module=module, method=method, signal=sent)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (128 + signal.Signals[sent], "", "") == (done.returncode, done.stdout, done.stderr)
