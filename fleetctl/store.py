"""The one door through which state reaches disk, and the content-addressed blobs behind it."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fleetctl.errors import BuildError, LockHeld, WriteError

_CHUNK = 1 << 20
_NO_LOCKS = "keep the project on a disk of this machine, or have the locks of its network file system mended"
_POLL = 0.05  # seconds between two tries for a lock


def sha256(data: bytes) -> str:
    """Hex sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: object) -> bytes:
    """The one JSON form that digests are taken of: sorted keys, no spaces, UTF-8, one final newline.

    Raises:
        ValueError: NaN, an infinity or half a surrogate pair, which JSON in UTF-8 cannot hold.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # what some file systems of a network say of folders, all of the time
            raise
    finally:
        os.close(handle)


def atomic_write(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Replace `path` with `data`: a reader, or a power cut, sees the old bytes or the new, never a mix.

    `mode` is what it may be read and written by at most: the umask takes from it.
    The rename is durable once the directory is synced; a drive that lies about flushing can still lose it.
    A process killed between the two leaves a `.name.*` file behind, which nobody reads.

    Raises:
        WriteError: the file cannot be written (disk full, permission); the old bytes are still there.
    """
    with naming(path):
        _replace(path, data.encode() if isinstance(data, str) else data, mode)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into a sentence that names the file, and the space that is left.

    Raises:
        WriteError: in place of any `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def is_out_of_space(error: OSError) -> bool:
    """Whether the disk, one's share of it, or the longest file one may write is what refused."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def unwritable(path: Path, error: OSError) -> WriteError:
    """What to tell of a file that the system refused to write."""
    reason = error.strerror or str(error)
    if not is_out_of_space(error):
        return WriteError(f"cannot write {path}: {reason}")
    return WriteError(
        f"cannot write {path}: {reason}{_space_left(path)}",
        hint="make room there, or lift the limit, and run the same command again",
    )


def _space_left(path: Path) -> str:
    """The free space of the disk that `path` would lie on, for a message; empty where nobody can say."""
    with contextlib.suppress(OSError):
        place = path.absolute()
        folder = next(each for each in (place, *place.parents) if each.is_dir())
        return f" ({shutil.disk_usage(folder).free / 2**20:,.1f} MiB free in {folder})"
    return ""


def _replace(path: Path, raw: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{os.urandom(4).hex()}"
    # Made with its mode: so the user's umask counts, as for any file.
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
        raise
    _fsync_directory(path.parent)


class Writes(Protocol):
    """Writes a file that is not there yet, and the folders that it lacks."""

    def __call__(self, path: Path, data: bytes | str, *, mode: int = 0o644) -> None: ...


@contextlib.contextmanager
def all_or_none() -> Iterator[Writes]:
    """Gives what writes new files: where the block fails, neither they nor their folders are left."""
    made: list[Path] = []

    def write(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
        lacking = [folder for folder in path.parents if not folder.exists()]
        made.extend(reversed(lacking))
        atomic_write(path, data, mode=mode)
        made.append(path)

    try:
        yield write
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # somebody else put something there, or it was never made
                path.rmdir() if path.is_dir() else path.unlink()
        raise


class BlobStore:
    """Immutable bytes under `<root>/sha256/<digest>`: written once, checked whenever they are read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the blob lies, whether it is there or not."""
        return self.root / "sha256" / digest

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; a whole blob is not written again, a damaged one is replaced.

        Either way its time is now: what is pruned goes by when a blob was last put.
        """
        digest = sha256(data)
        if not (_holds(self.path(digest), data) and _renewed(self.path(digest))):
            atomic_write(self.path(digest), data, mode=0o444)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a blob.

        Raises:
            BuildError: the blob is absent, unreadable, or its bytes are no longer what its name says.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BuildError(
                f"blob {digest[:12]} is not in the store {self.root}",
                hint="run `fleetctl artifacts pull` where it was pushed, or `fleetctl build`",
            ) from None
        except OSError as error:
            raise BuildError(f"blob {digest[:12]} in {self.root} cannot be read: {error.strerror}") from error
        if sha256(data) != digest:
            raise BuildError(
                f"blob {digest[:12]} in {self.root} was altered: its bytes no longer match its name",
                hint="run `fleetctl build`, which makes it anew",
            )
        return data

    def verify(self, digest: str) -> None:
        """Raise `BuildError` unless the blob is here and whole."""
        self.get(digest)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def _renewed(path: Path) -> bool:
    """Whether a file is still there; its time is now, if it is ours to say so."""
    try:
        os.utime(path)
    except OSError as error:
        return error.errno != errno.ENOENT
    return True


class Journal:
    """An append-only JSONL file; each record is on disk before `append` returns.

    A crash may leave a half-written last line: `read` leaves it out, and the next `append` first ends it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        line = canonical_json(dict(record))
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as stream:
                is_new = not stream.tell()
                if not is_new and not _ends_with_newline(stream.fileno()):
                    line = b"\n" + line
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
            if is_new:
                _fsync_directory(self.path.parent)  # else a power cut may take the file with its first record

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole record, oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for line in stream:
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record


def _ends_with_newline(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return os.pread(handle, 1, size - 1) == b"\n"


class Lock:
    """Mutual exclusion between commands at work on one fleet: a file that says who holds it.

    The kernel holds the lock (`flock`), so it is free the moment its owner's process is gone, however that
    ended, and nothing is ever judged stale by a clock or a process id. The text in the file is for people.
    """

    def __init__(self, path: Path, purpose: str, *, wait: float = 0.0, shared: bool = False) -> None:
        """`purpose` is the command, for the message others get; `wait` is how many seconds to keep trying.

        Many may hold a `shared` lock, and keep out who wants it alone.
        """
        self.path = path
        self.purpose = purpose
        self.wait = wait
        self._how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._handle: int | None = None

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeld: another holds it; the message says who, for what, and since when.
        """
        if self._handle is not None:
            raise LockHeld(f"{self.purpose} already holds {self.path}")
        give_up = time.monotonic() + self.wait
        while not self._try():
            if time.monotonic() >= give_up:
                raise self._held()
            time.sleep(_POLL)

    def release(self) -> None:
        """Give the lock back, if it is ours."""
        if self._handle is not None:
            # The file stays: removing it would let two hold two files of one name.
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def _try(self) -> bool:
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, self._how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as error:
            os.close(handle)
            raise WriteError(f"cannot lock {self.path}: {error.strerror}", hint=_NO_LOCKS) from error
        if not _is_file_at(handle, self.path):
            os.close(handle)  # somebody deleted the file meanwhile: what we locked, nobody else will look at
            return self._try()
        try:
            with naming(self.path):
                self._sign(handle)
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        return True

    def _sign(self, handle: int) -> None:
        """Write down who holds the lock."""
        record = {
            "pid": os.getpid(),
            "host": os.uname().nodename,
            "purpose": self.purpose,
            "since": time.time(),
        }
        os.ftruncate(handle, 0)
        os.pwrite(handle, canonical_json(record), 0)

    def _held(self) -> LockHeld:
        owner = self._owner()
        pid, since = owner.get("pid", "unknown"), owner.get("since")
        started = time.strftime("%H:%M:%S", time.localtime(since)) if isinstance(since, float) else "just now"
        return LockHeld(
            f"{owner.get('purpose', 'another command')} has been running since {started} "
            f"(pid {pid} on {owner.get('host', 'this machine')})",
            hint="wait for it, or stop it; the lock goes with its process",
        )

    def _owner(self) -> dict[str, Any]:
        return _lock_record(self.path)


def _lock_record(path: Path) -> dict[str, Any]:
    # Read while another writes it: half a record is no record.
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def lock_holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock at `path` (pid, host, purpose, since); None where nobody does. Takes nothing.

    For that moment nobody else can take it: who does should `wait` a little.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _lock_record(path)
    except OSError:  # a file system without locks: nobody could take it
        return None
    finally:
        os.close(handle)
    return None


def _is_file_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
