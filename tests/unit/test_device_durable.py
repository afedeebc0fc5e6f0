"""Files that are synced together get their names together, whatever ends the writing of them."""

from pathlib import Path

import pytest

from fleetctl.device.durable import Together, atomic_write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("count", [1, 8, 9, 100])
def test_all_get_their_names_at_the_end(tmp_path: Path, count: int) -> None:
    """Nobody sees one before all are on the disk; then each has its bytes and its mode."""
    with Together() as files:
        for number in range(count):
            files.add(str(tmp_path / f"{number:03d}"), b"%d" % number, 0o444)
        assert all(name.startswith(".new.") for name in names(tmp_path))

    assert names(tmp_path) == [f"{number:03d}" for number in range(count)]
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"%d" % n for n in range(count)]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o444}


def test_what_was_added_before_an_error_is_kept(tmp_path: Path) -> None:
    """A transfer that breaks goes on behind the files that came."""
    with pytest.raises(EOFError), Together() as files:
        files.add(str(tmp_path / "one"), b"1", 0o644)
        raise EOFError

    assert names(tmp_path) == ["one"]


def test_large_files_do_not_wait_for_the_end(tmp_path: Path) -> None:
    """A power cut loses a few megabytes of what came, at most."""
    with Together() as files:
        files.add(str(tmp_path / "large"), bytes(Together.MOST_BYTES + 1), 0o644)
        files.add(str(tmp_path / "small"), b"", 0o644)
        assert "large" in names(tmp_path)
        assert "small" not in names(tmp_path)


def test_a_file_that_cannot_be_named_leaves_nothing_beside_it(tmp_path: Path) -> None:
    """A folder in its place refuses the name; no half of it is left behind."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "by").touch()
    with pytest.raises(OSError, match="taken"):
        atomic_write(str(tmp_path / "taken"), b"", 0o644)

    assert names(tmp_path) == ["taken"]
