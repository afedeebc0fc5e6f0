"""A file that a user names is replaced whole; what is no file stays what it is.

No device of this machine is tried: pipes, sockets and folders are refused by the same line.
"""

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from git_fleet import GitFleet, say

from fleetctl.cli.named_file import place_of, write_named
from fleetctl.errors import UsageError

HINT = "name a file"


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    """Through any number of links, also to a file that is not there yet; and whole, so by another inode."""
    (tmp_path / "there").mkdir()
    file, link, far = tmp_path / "there" / "file", tmp_path / "link", tmp_path / "far"
    file.write_text("old")
    before = file.stat().st_ino
    link.symlink_to("there/file")
    far.symlink_to(link)
    write_named(far, "new", hint=HINT)
    assert file.stat().st_ino != before
    file.unlink()
    write_named(link, "newer", hint=HINT)

    assert "newer" == file.read_text()
    assert link.is_symlink() and far.is_symlink()
    assert [file] == list(file.parent.iterdir())


@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_is_no_file_stays_what_it_is(tmp_path: Path, through_a_link: bool) -> None:
    """A pipe, a socket, a folder: refused by its kind, with what to do instead."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    for kind in ("folder", "pipe", "socket"):
        path = tmp_path / kind
        before = path.stat()
        if through_a_link:
            path = tmp_path / f"to-{kind}"
            path.symlink_to(kind)
        with pytest.raises(UsageError, match=f"is a {kind}") as refused:
            write_named(path, "x", hint=HINT, new_folder=True)
        assert HINT == refused.value.hint
        assert os.path.samestat(before, (tmp_path / kind).stat())
        assert through_a_link is path.is_symlink()


def test_folders_are_made_only_where_that_was_promised(tmp_path: Path) -> None:
    """One that is missing was mistyped; a file is no folder either way."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="out is not there"):
        write_named(tmp_path / "out" / "x", "x", hint=HINT)
    for new_folder in (False, True):
        with pytest.raises(UsageError, match="file is no folder"):
            write_named(tmp_path / "file" / "x", "x", hint=HINT, new_folder=new_folder)
    assert [tmp_path / "file"] == list(tmp_path.iterdir())
    write_named(tmp_path / "out" / "put" / "x", "x", hint=HINT, new_folder=True)

    assert "x" == (tmp_path / "out" / "put" / "x").read_text()


def test_standard_output_is_not_replaced_where_a_shell_leads_it_into_a_file(tmp_path: Path) -> None:
    """A new file would take its place, and what is printed would go to the one that nobody sees."""
    script = "import sys; from pathlib import Path; from fleetctl.cli.named_file import place_of; " + (
        "place_of(Path(sys.argv[1]), hint='')"
    )
    with (tmp_path / "out").open("w") as out:
        done = [
            subprocess.run(
                [sys.executable, "-c", script, name], stdout=out, stderr=subprocess.PIPE, text=True
            )
            for name in ("/dev/stdout", str(tmp_path / "out"))
        ]

    assert [True, True] == ["is what this command reads from or prints to" in each.stderr for each in done]


def test_a_file_is_itself(tmp_path: Path) -> None:
    """Whether it is there yet or not."""
    assert [tmp_path / "new"] * 2 == [place_of(tmp_path / "new", hint=HINT) for _ in range(2)]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("status --to", "without --to it is printed"),
        ("status -o json --watch --to", "without --to it is printed"),
        ("plan --save", "without --save it is printed"),
        ("report --html", "name a file for the HTML"),
        ("rollout --yes --wave 1 --shard 1/1 --result", "the file is what `--join` judges the wave by"),
    ],
)
def test_verbs_refuse_before_they_ask(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    hint: str,
) -> None:
    """Exit 2 for a pipe, at once; no board was asked, and the pipe is still one."""
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    fleet = GitFleet.enter(tmp_path_factory, tmp_path, monkeypatch)
    os.mkfifo("pipe")
    said = say(capsys, *words.split(), "pipe")
    lost = say(capsys, *words.split(), "nowhere/file")

    assert (2, "") == (said.status, said.out)
    assert "pipe is a pipe" in said.err
    assert hint in said.err
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
    assert not (fleet.root / ".fleetctl" / "fake").exists() or "rollout" in words
    assert ("rollout" in words) or (2, True) == (lost.status, "nowhere is not there" in lost.err)
