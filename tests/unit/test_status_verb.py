"""`fleetctl status` and `fleetctl schema`, as a person or a timer calls them, on simulated boards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from quadrant_fleet import Done, QuadrantFleet

from fleetctl.schemas import SCHEMAS


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """Three simulated boards that run what git says."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp("fleet"))
    (made.root / "faults.yaml").write_text("karnak-01: {unreachable: true}\nluxor-02: {hot: true}\n")
    assert 0 == made.run("rollout", "--yes", transport="fake").status
    yield made


def status(fleet: QuadrantFleet, *arguments: str) -> Done:
    return fleet.run("status", *arguments, transport="fake")


def test_a_good_morning(fleet: QuadrantFleet) -> None:
    """Where all is well, one line says so, and the exit is 0."""
    said = status(fleet)

    assert (0, "") == (said.status, said.err)
    assert said.out.startswith("ok 3 boards do what git says: serving for ")
    assert "3 of 3 boards healthy; 3 serving processes answered; 3 demand no signature\n" in said.out


def test_the_json_is_what_its_schema_says(fleet: QuadrantFleet) -> None:
    """Boards that are well, strained and silent all fit the published schema; the exit is 1."""
    said = status(fleet, "-o", "json", "--faults", "faults.yaml")
    jsonschema.validate(said.json, SCHEMAS["fleetctl.status/v1"])

    assert 1 == said.status
    assert ["healthy", "strained", "offline"] == [board["standing"] for board in said.json["boards"]]
    assert SCHEMAS["fleetctl.status/v1"] == json.loads(fleet.run("schema", "status").out)


def test_an_unknown_schema_is_refused(fleet: QuadrantFleet) -> None:
    """A typing mistake in `schema NAME` is a usage error with the name that was meant."""
    said = fleet.run("schema", "statsu")

    assert (2, True) == (said.status, "did you mean 'status'?" in said.err)


def test_a_textfile_is_replaced_whole(fleet: QuadrantFleet) -> None:
    """`--to` writes for node_exporter, prints nothing, and leaves no half-written file beside it."""
    folder = fleet.root / "textfiles"
    folder.mkdir()
    said = status(fleet, "-o", "prometheus", "--to", "textfiles/fleetctl.prom")

    assert (0, "") == (said.status, said.out)
    assert ["fleetctl.prom"] == [path.name for path in folder.iterdir()]
    assert 'fleetctl_board_healthy{board="luxor-01"} 1.0' in (folder / "fleetctl.prom").read_text()


def test_a_watch_goes_into_a_log(fleet: QuadrantFleet) -> None:
    """Without a terminal, `--watch` prints the table once, then what changes; Ctrl-C ends it quietly."""
    with subprocess.Popen(
        [sys.executable, "-m", "fleetctl", "status", "--watch", "--every", "1", "--faults", "faults.yaml"],
        cwd=fleet.root,
        env={**os.environ, "FLEETCTL_TRANSPORT": "fake"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        first = next(line for line in process.stdout if " boards healthy" in line)
        first += process.stdout.readline()
        (fleet.root / "faults.yaml").write_text("luxor-02: {hot: true}\n")
        changed = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)

    assert (
        "1 of 3 boards healthy, 1 offline, 1 strained; 2 serving processes answered; 2\ndemand no signature\n"
    ) == first
    assert "ok karnak-01: " in changed
    assert ("", "", 1) == (out, err, process.returncode)


def test_a_watch_survives_an_edit_that_is_not_finished(fleet: QuadrantFleet, tmp_path: Path) -> None:
    """A manifest that cannot be read meanwhile is told, and the boards are watched all the same."""
    manifest = fleet.root / "inventory" / "fleet.yaml"
    whole = manifest.read_text()
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "fleetctl", "status", "--watch", "--every", "1", "-o", "json"],
            cwd=fleet.root,
            env={**os.environ, "FLEETCTL_TRANSPORT": "fake"},
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        _wait_for(lambda: '"schema"' in log.read_text())
        manifest.write_text(whole.replace("kind: Fleet", "kind: Flee"))
        assert process.stderr
        warned = process.stderr.readline()
        rounds = log.read_text().count('"schema"')
        _wait_for(lambda: log.read_text().count('"schema"') > rounds)
    finally:
        manifest.write_text(whole)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    assert "1 problem in the manifest; watching what git said before" in warned
    assert 0 == process.returncode
    assert json.loads(log.read_text().split('\n{\n  "schema"')[0])


def _wait_for(truth: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while not truth():
        assert time.monotonic() < until
        time.sleep(0.05)
