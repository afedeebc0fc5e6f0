"""`fleetctl status` and `fleetctl schema`, as a person or a timer calls them, on simulated boards."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jsonschema
import pytest
from published import Said
from quadrant_fleet import QuadrantFleet

from fleetctl.schemas import SCHEMAS


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> QuadrantFleet:
    """Three simulated boards that run what git says."""
    faults = "karnak-01: {unreachable: true}\nluxor-02: {hot: true}\n"
    return QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"), faults)


def status(fleet: QuadrantFleet, *arguments: str) -> Said:
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

    assert (2, True) == (said.status, "did you mean `status`?" in said.err)


def test_a_textfile_is_replaced_whole(fleet: QuadrantFleet) -> None:
    """`--to` writes for node_exporter, prints nothing, and leaves no half-written file beside it."""
    folder = fleet.root / "textfiles"
    folder.mkdir()
    said = status(fleet, "-o", "prometheus", "--to", "textfiles/fleetctl.prom")

    assert (0, "") == (said.status, said.out)
    assert ["fleetctl.prom"] == [path.name for path in folder.iterdir()]
    assert 'fleetctl_board_healthy{board="luxor-01"} 1.0' in (folder / "fleetctl.prom").read_text()


def test_a_webhook_that_is_missing_is_said_before_boards_are_asked(fleet: QuadrantFleet) -> None:
    """As any bad usage: whoever runs it by a timer does not take the table for a success."""
    done = fleet.run("status", "--notify", transport="fake")

    assert (2, "") == (done.status, done.out)
    assert "--notify needs FLEETCTL_WEBHOOK" in done.err


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


@contextmanager
def watching(fleet: QuadrantFleet, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A watch that writes JSON to `out` and its warnings to `err`, ended by Ctrl-C."""
    words = [sys.executable, "-m", "fleetctl", "status", "--watch", "--every", "1", "-o", "json"]
    settings = {**os.environ, "FLEETCTL_TRANSPORT": "fake"}
    with (
        (folder / "out").open("w") as out,
        (folder / "err").open("w") as err,
        subprocess.Popen(words, cwd=fleet.root, env=settings, stdout=out, stderr=err) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def _waited_for_another_round(out: Path) -> None:
    rounds = out.read_text().count('"schema"')
    _wait_for(lambda: out.read_text().count('"schema"') > rounds)


def test_a_watch_survives_an_edit_that_is_not_finished(fleet: QuadrantFleet, tmp_path: Path) -> None:
    """What is wrong with the manifest is told once, and the boards are watched all the same."""
    manifest, out = fleet.root / "inventory" / "fleet.yaml", tmp_path / "out"
    whole = manifest.read_text()
    with watching(fleet, tmp_path) as process:
        _wait_for(lambda: '"schema"' in out.read_text())
        try:
            manifest.write_text(whole.replace("kind: Fleet", "kind: Flee"))
            _wait_for(lambda: "watching what git said before" in (tmp_path / "err").read_text())
            _waited_for_another_round(out)
            _waited_for_another_round(out)
        finally:
            manifest.write_text(whole)

    said = (tmp_path / "err").read_text()
    wrong = "inventory/fleet.yaml:2:7: kind: must be `Fleet`, not `Flee`"
    assert (0, f"! {wrong}; watching what git said before\n") == (process.returncode, said)
    assert json.loads(out.read_text().split('\n{\n  "schema"')[0])


def test_a_watch_survives_what_leads_to_boards(fleet: QuadrantFleet, tmp_path: Path) -> None:
    """Where no board can be asked for a while, that is told, and they are asked again."""
    record, out = fleet.root / ".fleetctl" / "fake" / "luxor-01.json", tmp_path / "out"
    kept = record.read_bytes()

    def is_told() -> bool:
        record.write_text("spoilt")  # each time: the board may just have been asked, and written down anew
        warning = "is not the record of a simulated board; boards are asked again every 1 s\n"
        return warning in (tmp_path / "err").read_text()

    with watching(fleet, tmp_path) as process:
        _wait_for(lambda: '"schema"' in out.read_text())
        try:
            _wait_for(is_told)
        finally:
            record.write_bytes(kept)
        _waited_for_another_round(out)

    assert 0 == process.returncode


def test_a_watch_that_ends_before_anything_is_known(fleet: QuadrantFleet, tmp_path: Path) -> None:
    """Ctrl-C while boards are asked for the first time is no word about them."""
    record = fleet.root / ".fleetctl" / "fake" / "luxor-01.json"
    kept = record.read_bytes()
    record.unlink()
    os.mkfifo(record)
    try:
        with watching(fleet, tmp_path) as process:
            writer = os.open(record, os.O_WRONLY)  # comes back when the board is being asked
    finally:
        record.unlink()
        record.write_bytes(kept)
    os.close(writer)

    assert (128 + signal.SIGINT, "") == (process.returncode, (tmp_path / "out").read_text())


def _wait_for(truth: Callable[[], bool]) -> None:
    until = time.monotonic() + 90
    while not truth():
        assert time.monotonic() < until
        time.sleep(0.05)
