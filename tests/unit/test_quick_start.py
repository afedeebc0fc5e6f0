"""What is answered without Typer: the very words that Typer would give, and nothing that no longer holds."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.cli import main
from fleetctl.cli.help_page import typer_page
from fleetctl.cli.quick import HELP, MANIFEST, answered
from fleetctl.cli.root import app
from fleetctl.errors import ManifestError
from fleetctl.manifest import plain_fleet
from fleetctl.manifest.loader import load, load_and_remember
from fleetctl.manifest.looking import load_to_look
from fleetctl.manifest.remembered import FLEET, VALID, recall
from fleetctl.project import DEFAULT_MANIFEST
from fleetctl.store import sha256

CASES = Path(__file__).parents[1] / "cases" / "manifest"
BOARD = "boards: {luxor-09: {board: raspberrypi4, model: reader, host: 192.0.2.9}}\n"
RECORD = Path(".fleetctl/valid.known")


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid fleet in two files, in a repository that leaves `.fleetctl/` out of git."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    manifest = Path("inventory/fleet.yaml")
    manifest.parent.mkdir()
    text = (CASES / "base.yaml").read_text()
    manifest.write_text(text.replace("kind: Fleet\n", "kind: Fleet\ninclude: [groups/*.yaml]\n"))
    Path("inventory/groups").mkdir()
    Path("inventory/groups/luxor.yaml").write_text(BOARD)
    Path(".gitignore").write_text(".fleetctl/\n")
    return manifest


def validated() -> str | None:
    """Validate in full, and say what is remembered."""
    load_and_remember(Path(MANIFEST), lambda fleet: f"{len(fleet.boards)} boards")
    return recall(MANIFEST, VALID)


def test_the_page_is_typer_s() -> None:
    """After a change of verbs or options: `python -m fleetctl.cli.help_page`."""
    assert typer_page() == Path(HELP).read_text("utf-8")


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["--version"], ["validate"], ["validate", "-f", MANIFEST]]
)
def test_answers_are_typer_s(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Word for word, and with its exit status."""
    load_and_remember(Path(MANIFEST), lambda _: "4 boards, 1 model, 3 waves")
    quick, said = answered(words), capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        app(words, prog_name="fleetctl")

    assert (True, 0) == (quick, stop.value.code or 0)
    assert capsys.readouterr() == said


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help", "--version"],
        ["validate", "-f"],
        ["validate", "-f", "--help"],
        ["validate", "-f", MANIFEST, "-o", "json"],
        ["validate", "--fil", MANIFEST],
        ["validate", f"--file={MANIFEST}"],
        ["plan"],
        ["help"],
    ],
)
def test_everything_else_is_left_to_typer(words: list[str]) -> None:
    """What has another meaning, or none, has one place where it is understood."""
    validated()

    assert not answered(words)


@pytest.mark.parametrize(("name", "value"), [("COLUMNS", "60"), ("_FLEETCTL_COMPLETE", "complete_bash")])
def test_what_looks_otherwise_is_left_to_typer(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow terminal gets a page of its own, and a shell that completes words gets no page."""
    monkeypatch.setenv(name, value)

    assert not answered(["--help"])


def test_a_page_that_cannot_be_printed_is_left_to_typer() -> None:
    """It knows what to do where nobody listens any more."""
    command = f"{sys.executable} -m fleetctl --help"
    script = f"{command} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)

    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "141")  # 0 where the pipe was still open


def test_one_manifest_is_meant() -> None:
    """The quick way looks for the manifest where everything else does."""
    assert DEFAULT_MANIFEST == Path(MANIFEST)


def test_a_manifest_that_did_not_change_is_not_read_again() -> None:
    """What was said of it is said again, by every way that leads to it."""
    assert validated() == "4 boards"
    assert recall(str(Path(MANIFEST).absolute()), VALID) == recall(f"./{MANIFEST}", VALID) == "4 boards"


def invalid() -> None:
    Path(MANIFEST).write_text("boards: {}\n")


CHANGES: dict[str, Callable[[], object]] = {
    "a byte more": lambda: Path(MANIFEST).write_text(Path(MANIFEST).read_text() + "\n"),
    "an invalid one": invalid,
    "an included file": lambda: Path("inventory/groups/luxor.yaml").write_text(BOARD + "\n"),
    "one more file": lambda: Path("inventory/groups/karnak.yaml").write_text(BOARD.replace("09", "10")),
    "a file less": lambda: Path("inventory/groups/luxor.yaml").unlink(),
    "another folder": lambda: Path("inventory/groups").rename("inventory/grp"),
    "the record is gone": RECORD.unlink,
    "the record is cut": lambda: RECORD.write_bytes(RECORD.read_bytes()[:-9]),
    "the record is empty": lambda: RECORD.write_bytes(b""),
    "the record is no record": lambda: RECORD.write_bytes(sha256(b"[]").encode() + b"\n[]"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_is_read_anew(change: Callable[[], object]) -> None:
    """A file that is other than it was, one that came or went, and a record that was damaged."""
    validated()
    change()

    assert recall(MANIFEST, VALID) is None


def test_a_file_that_moved_behind_a_link_is_read_anew() -> None:
    """The same bytes at another place may be outside the inventory, which is refused."""
    file, elsewhere = Path("inventory/groups/luxor.yaml"), Path("elsewhere.yaml")
    validated()
    file.rename(elsewhere)
    file.symlink_to(elsewhere.absolute())

    assert recall(MANIFEST, VALID) is None
    with pytest.raises(ManifestError):
        validated()


def test_other_code_judges_anew() -> None:
    """An upgrade of fleetctl, Python or a package may see what the one before did not."""
    validated()
    _, reasons, said = RECORD.read_bytes().split(b"\n")
    body = json.dumps({**json.loads(reasons), "judge": "0" * 64}).encode() + b"\n" + said
    RECORD.write_bytes(sha256(body).encode() + b"\n" + body)

    assert recall(MANIFEST, VALID) is None


def test_ci_trusts_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the folder is what somebody proposes."""
    validated()
    monkeypatch.setenv("CI", "true")

    assert recall(MANIFEST, VALID) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_bit_is_overlooked(data: st.DataObject) -> None:
    """In the record or in any file."""
    validated()
    path = data.draw(st.sampled_from([RECORD, Path(MANIFEST), Path("inventory/groups/luxor.yaml")]))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytes([whole[place] ^ 1 << data.draw(st.integers(0, 7))])
    path.write_bytes(whole[:place] + flipped + whole[place + 1 :])
    try:
        assert recall(MANIFEST, VALID) is None
    finally:
        path.write_bytes(whole)


def test_nothing_is_kept_where_git_would_see_it() -> None:
    """Without the line that `init` writes, and without the folder, `validate` leaves nothing behind."""
    Path(".gitignore").unlink()

    assert validated() is None
    assert not RECORD.parent.exists()


def test_nothing_is_lost_where_nothing_can_be_kept() -> None:
    """A file in the way of the folder: the manifest is as valid as before."""
    Path(".fleetctl").write_text("in the way")

    assert validated() is None


def test_invalid_manifests_are_told_every_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A valid one before does not speak for it."""
    assert 0 == main(["validate"]) == main(["validate"])
    invalid()

    assert 10 == main(["validate"]) == main(["validate"])
    assert 2 == capsys.readouterr().err.count("the manifest\n")


def many(count: int) -> str:
    return "boards:\n" + "".join(
        f"  b{n}: {{board: raspberrypi4, model: reader, host: h{n}, config: {{threshold: 0.5}}}}\n"
        for n in range(count)
    )


def test_a_fleet_is_read_once() -> None:
    """Verbs that only look take the fleet as it was read, whole, until a byte of it changes."""
    Path("inventory/groups/luxor.yaml").write_text(many(20))
    path = Path(MANIFEST)
    first, again = load_to_look(path), load_to_look(path)

    assert recall(MANIFEST, FLEET) is not None
    assert first == again == load(path)
    assert repr(first) == repr(again)
    Path("inventory/groups/luxor.yaml").write_text(many(20).replace("h7,", "h7777,"))
    assert load_to_look(path).boards["b7"].host == "h7777"


def test_what_cannot_be_written_is_not_kept() -> None:
    """PyYAML without libyaml lets half a character in; such a fleet is read anew each time."""
    fleet = load(Path(MANIFEST))

    assert plain_fleet.to_text(replace(fleet, name="\ud800")) is None


def test_no_fleet_is_kept_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """There every verb reads the manifest, and leaves nothing behind."""
    monkeypatch.setenv("CI", "true")

    assert load_to_look(Path(MANIFEST)) == load(Path(MANIFEST))
    assert not RECORD.parent.exists()


def test_what_changes_boards_reads_the_manifest() -> None:
    """`load` believes no record, however whole it looks."""
    Path("inventory/groups/luxor.yaml").write_text(many(20))
    load_to_look(Path(MANIFEST))
    place = Path(".fleetctl/fleet.known")
    _, reasons, said = place.read_bytes().split(b"\n")
    body = reasons + b"\n" + said.replace(b'"h7"', b'"evil"')
    place.write_bytes(sha256(body).encode() + b"\n" + body)

    assert load_to_look(Path(MANIFEST)).boards["b7"].host == "evil"
    assert load(Path(MANIFEST)).boards["b7"].host == "h7"


def test_a_pipe_in_its_place_is_not_waited_for() -> None:
    """What was found valid before is a file: reading from a named pipe would wait for ever."""
    assert validated()
    Path(MANIFEST).unlink()
    os.mkfifo(MANIFEST)

    assert None is recall(MANIFEST, VALID)
