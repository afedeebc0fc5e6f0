"""The one door to the disk: what it writes, keeps, and refuses."""

import errno
import fcntl
import json
import os
import re
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fleetctl.errors import BuildError, FleetError, LockHeld, WriteError
from fleetctl.store import (
    BlobStore,
    Journal,
    Lock,
    atomic_write,
    canonical_json,
    lock_holder,
    sha256,
    sha256_file,
)


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """A real process that runs `script`; its standard streams are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_canonical_json_is_one_form() -> None:
    """Order does not matter, text stays readable, and there is one newline at the end."""
    assert canonical_json({"b": 1, "a": "ḥtp"}) == '{"a":"ḥtp","b":1}\n'.encode()
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1})


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800"], ids=["nan", "infinity", "half a character"]
)
def test_canonical_json_refuses_what_json_cannot_hold(value: object) -> None:
    """No digest is ever taken of bytes that another reader would not take."""
    with pytest.raises(ValueError):
        canonical_json({"value": value})


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Reading in chunks changes nothing."""
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)

    assert sha256_file(tmp_path / "file") == sha256(data)


def test_atomic_write_makes_folders_and_sets_the_mode(tmp_path: Path) -> None:
    """The file has its bytes and its mode, and no temporary file stays behind."""
    path = tmp_path / "a" / "b"

    atomic_write(path, "text", mode=0o600)

    assert path.read_text() == "text"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_atomic_write_leaves_to_others_what_the_umask_does(tmp_path: Path) -> None:
    """Who has it at 077 wants reports and blobs to be nobody else's, also where they replace one."""
    (tmp_path / "report.html").write_text("for all")
    before = os.umask(0o077)
    try:
        atomic_write(tmp_path / "report.html", "for me")
        digest = BlobStore(tmp_path).put(b"model")
    finally:
        os.umask(before)

    assert 0o600 == stat.S_IMODE((tmp_path / "report.html").stat().st_mode)
    assert 0o400 == stat.S_IMODE(BlobStore(tmp_path).path(digest).stat().st_mode)


def test_atomic_write_that_cannot_says_where_and_why(tmp_path: Path) -> None:
    """The system's refusal becomes a sentence with the file's name."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(FleetError, match=r"cannot write .*/file/state\.json: (Not a directory|File exists)"):
        atomic_write(tmp_path / "file" / "state.json", b"")


def test_a_full_disk_keeps_the_old_bytes(tmp_path: Path) -> None:
    """Where the new bytes do not fit, the old ones stay, and nothing is left lying about."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        from fleetctl.errors import FleetError
        from fleetctl.store import atomic_write
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            atomic_write(Path(sys.argv[1]), b"x" * 2000)
        except FleetError as error:
            print(error.message)
    """
    path = tmp_path / "state.json"
    path.write_bytes(b"old")

    said, _ = python(script, path).communicate()

    assert re.fullmatch(rf"cannot write {path}: File too large \([\d,.]+ MiB free in {tmp_path}\)\n", said)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def _for_folders(error: int) -> Callable[[int], None]:
    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(error, os.strerror(error))

    return fsync


def test_a_folder_that_cannot_be_synced_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems of a network cannot, ever; a disk that fails is said all the same."""
    monkeypatch.setattr(os, "fsync", _for_folders(errno.EINVAL))
    atomic_write(tmp_path / "a", "new")
    assert "new" == (tmp_path / "a").read_text()

    monkeypatch.setattr(os, "fsync", _for_folders(errno.EIO))
    with pytest.raises(WriteError, match="Input/output error"):
        atomic_write(tmp_path / "a", "newer")


def test_blobs_come_back_whole(tmp_path: Path) -> None:
    """A blob is found by the digest of its bytes, read-only, and written once."""
    store = BlobStore(tmp_path)
    digest = store.put(b"bytes")
    before = store.path(digest).stat()

    assert digest == sha256(b"bytes")
    assert store.put(b"bytes") == digest
    assert store.get(digest) == b"bytes"
    assert stat.S_IMODE(before.st_mode) == 0o444
    assert store.path(digest).stat().st_ino == before.st_ino


def test_a_blob_that_is_put_again_was_used_now(tmp_path: Path) -> None:
    """It is not written again, and yet is as young as a new one: what is pruned goes by that."""
    store = BlobStore(tmp_path)
    path = store.path(store.put(b"gold"))
    before = path.stat().st_ino
    os.utime(path, (1, 1))
    store.put(b"gold")

    assert (before, True) == (path.stat().st_ino, path.stat().st_mtime > 1)


def test_an_absent_blob_says_how_to_get_it(tmp_path: Path) -> None:
    """The message names the blob and the store, the hint the command."""
    with pytest.raises(BuildError, match="blob aaaaaaaaaaaa is not in the store") as absent:
        BlobStore(tmp_path).get("a" * 64)

    assert absent.value.hint == "run `fleetctl artifacts pull` where it was pushed, or `fleetctl build`"


def test_an_altered_blob_is_refused_and_then_replaced(tmp_path: Path) -> None:
    """Wrong bytes are never handed out, and putting the right ones heals the store."""
    store = BlobStore(tmp_path)
    digest = store.put(b"bytes")
    store.path(digest).chmod(0o644)
    store.path(digest).write_bytes(b"Bytes")

    with pytest.raises(BuildError, match="was altered"):
        store.verify(digest)
    store.put(b"bytes")

    store.verify(digest)


def test_a_journal_reads_what_was_appended(tmp_path: Path) -> None:
    """Records come back in order."""
    journal = Journal(tmp_path / "state" / "journal.jsonl")
    assert list(journal.read()) == []

    journal.append({"n": 1})
    journal.append({"n": 2})

    assert list(journal.read()) == [{"n": 1}, {"n": 2}]


def test_a_record_that_is_no_json_is_refused_before_it_is_written(tmp_path: Path) -> None:
    """A journal never holds half of what it was given."""
    journal = Journal(tmp_path / "journal.jsonl")

    with pytest.raises(ValueError):
        journal.append({"loss": float("nan")})

    assert not journal.path.exists()


def test_a_lock_says_who_holds_it(tmp_path: Path) -> None:
    """The second comer learns what runs, since when, where, and under which process id."""
    path = tmp_path / "state" / "lock"

    with Lock(path, "rollout of unas"), pytest.raises(LockHeld) as held:
        Lock(path, "build of unas").acquire()

    assert held.value.message.startswith("rollout of unas has been running since ")
    assert f"(pid {os.getpid()} on " in held.value.message


def test_a_lock_is_free_again_after_use(tmp_path: Path) -> None:
    """Also when the work failed."""
    with pytest.raises(KeyError), Lock(tmp_path / "lock", "one"):
        raise KeyError

    with Lock(tmp_path / "lock", "two"):
        pass


def test_a_lock_is_not_taken_twice_by_one_owner(tmp_path: Path) -> None:
    """Taking it again is a mistake in the program, and does not silently succeed."""
    with Lock(tmp_path / "lock", "one") as lock, pytest.raises(LockHeld):
        lock.acquire()


HOLD = """
    import sys
    from pathlib import Path
    from fleetctl.store import Lock
    with Lock(Path(sys.argv[1]), "rollout of unas"):
        print("held", flush=True)
        sys.stdin.read()
"""


def test_a_killed_owner_frees_the_lock(tmp_path: Path) -> None:
    """However a process ends, its lock ends with it: no clean-up by hand, no time to wait."""
    path = tmp_path / "lock"
    owner = python(HOLD, path)
    assert owner.stdout is not None and owner.stdout.readline() == "held\n"
    with pytest.raises(LockHeld, match=f"pid {owner.pid}"):
        Lock(path, "build").acquire()

    owner.send_signal(signal.SIGKILL)
    owner.communicate()

    with Lock(path, "build"):
        pass


def test_a_shared_lock_keeps_out_who_wants_it_alone(tmp_path: Path) -> None:
    """As long as one of those that share it has it; and the other way round."""
    first, second = (Lock(tmp_path / "lock", "a playbook", shared=True) for _ in range(2))
    with first:
        with second, pytest.raises(LockHeld, match="a playbook has been running"):
            Lock(tmp_path / "lock", "prune").acquire()
        with pytest.raises(LockHeld):
            Lock(tmp_path / "lock", "prune").acquire()
    with Lock(tmp_path / "lock", "prune"), pytest.raises(LockHeld, match="prune has been running"):
        first.acquire()


def test_a_lock_can_be_waited_for(tmp_path: Path) -> None:
    """With `wait`, the next one goes on as soon as the owner is done."""
    path = tmp_path / "lock"
    owner = python(HOLD, path)
    assert owner.stdout is not None and owner.stdout.readline() == "held\n"
    assert owner.stdin is not None
    owner.stdin.close()
    began = time.monotonic()

    with Lock(path, "build", wait=20.0):
        waited = time.monotonic() - began

    owner.wait()
    owner.stdout.close()
    assert waited < 19.0


def test_a_disk_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS has none where nothing answers for them: that nobody else is at work, nobody can know."""

    def flock(_handle: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(WriteError, match=r"cannot lock .*lock: No locks available") as said:
        Lock(tmp_path / "lock", "rollout").acquire()

    assert "network" in said.value.hint
    assert lock_holder(tmp_path / "lock") is None


def test_a_deleted_lock_file_does_not_admit_two(tmp_path: Path) -> None:
    """Deleting the file of a lock nobody holds leaves a lock that works."""
    path = tmp_path / "lock"
    with Lock(path, "one"):
        pass
    path.unlink()

    with Lock(path, "two"), pytest.raises(LockHeld, match="two has been running"):
        Lock(path, "three").acquire()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"since": "noon"}', "\xff"])
def test_a_lock_file_with_nonsense_in_it_still_locks(tmp_path: Path, text: str) -> None:
    """What the file says is for people; who holds the lock is the kernel's business."""
    path = tmp_path / "lock"
    path.write_text(text)
    with Lock(path, "one"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(LockHeld, match="has been running since just now"):
            Lock(path, "two").acquire()

    with Lock(path, "three"):
        assert json.loads(path.read_text())["purpose"] == "three"


COUNT = """
    import sys
    from pathlib import Path
    from fleetctl.store import Lock
    lock, counter = Path(sys.argv[1]), Path(sys.argv[2])
    for _ in range(25):
        with Lock(lock, "counting", wait=60.0):
            count = int(counter.read_text())
            counter.write_text("")
            counter.write_text(str(count + 1))
"""


def test_racing_processes_take_turns(tmp_path: Path) -> None:
    """Six processes that each add 25 to a number in a file lose none of it."""
    counter = tmp_path / "counter"
    counter.write_text("0")

    racers = [python(COUNT, tmp_path / "lock", counter) for _ in range(6)]
    for racer in racers:
        racer.communicate()

    assert [racer.returncode for racer in racers] == [0] * 6
    assert counter.read_text() == "150"
