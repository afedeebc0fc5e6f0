"""The one door through which state reaches disk, and the content-addressed blobs behind it."""

import contextlib
import hashlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fleetctl.errors import BuildError, LockHeld

_CHUNK = 1 << 20


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
    """The one JSON form that digests are taken of: sorted keys, no spaces, UTF-8, one final newline."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: Path, data: bytes | str, *, mode: int = 0o644) -> None:
    """Replace `path` with `data` so that a reader, or a power cut, sees the old bytes or the new, never a mix.

    The rename is durable once the directory is synced; a drive that lies about flushing can still lose it.
    """
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    _fsync_directory(path.parent)


class BlobStore:
    """Immutable bytes under `<root>/sha256/<digest>`: written once, checked whenever they are read."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, digest: str) -> Path:
        """Where the blob lies, whether it is there or not."""
        return self.root / "sha256" / digest

    def has(self, digest: str) -> bool:
        return self.path(digest).is_file()

    def put(self, data: bytes) -> str:
        """Keep `data` and return its digest; a blob already there is not written again."""
        digest = sha256(data)
        if not self.has(digest):
            atomic_write(self.path(digest), data, mode=0o444)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a blob.

        Raises:
            BuildError: the blob is absent, or its bytes are no longer what its name says.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise BuildError(f"blob {digest[:12]} is not in the store {self.root}", hint="run `fleetctl build`") from None
        if sha256(data) != digest:
            raise BuildError(
                f"blob {digest[:12]} in {self.root} was altered: its bytes no longer match its name",
                hint=f"delete {self.path(digest)} and run `fleetctl build`",
            )
        return data

    def verify(self, digest: str) -> None:
        """Raise `BuildError` unless the blob is here and whole."""
        self.get(digest)


class Journal:
    """An append-only JSONL file; each record is on disk before `append` returns.

    A crash may leave a half-written last line: `read` leaves it out, and the next `append` first ends it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = canonical_json(dict(record))
        with self.path.open("ab+") as stream:
            if stream.tell() and not _ends_with_newline(stream.fileno()):
                line = b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole record, oldest first."""
        if not self.path.exists():
            return
        with self.path.open("rb") as stream:
            for line in stream:
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if isinstance(record, dict):
                        yield record


def _ends_with_newline(handle: int) -> bool:
    size = os.fstat(handle).st_size
    return os.pread(handle, 1, size - 1) == b"\n"


class Lock:
    """Mutual exclusion between controllers on one machine: a file that names its owner and outlives no one.

    The lock is taken by creating the file exclusively. It is free again when its owner's process is gone
    (same host) or when `ttl` seconds passed since it was taken or renewed (any host).
    """

    def __init__(self, path: Path, purpose: str, *, ttl: float = 3600.0) -> None:
        self.path = path
        self.purpose = purpose
        self.ttl = ttl

    def __enter__(self) -> "Lock":
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockHeld: a live owner has it; the message says who, for what, and since when.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(3):
            if self._create():
                return
            owner = self._owner()
            if owner is not None and not self._is_stale(owner):
                since = time.strftime("%H:%M:%S", time.localtime(owner.get("since", 0)))
                raise LockHeld(
                    f"{owner.get('purpose', 'another command')} has been running since {since} "
                    f"(pid {owner.get('pid')} on {owner.get('host')})",
                    hint=f"wait for it, or stop it; if it is gone for good, delete {self.path}",
                )
            self._break(owner)
        raise LockHeld("the lock changes hands too quickly to be taken", hint="try again")

    def release(self) -> None:
        """Give the lock back, if it is still ours."""
        owner = self._owner()
        if owner and owner.get("pid") == os.getpid() and owner.get("host") == socket.gethostname():
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def _create(self) -> bool:
        # Written aside and linked, so that nobody ever reads a lock without its owner in it.
        record = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": self.purpose, "since": time.time()}
        handle, name = tempfile.mkstemp(prefix=".lock.", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(canonical_json(record))
            os.link(name, self.path)
        except FileExistsError:
            return False
        finally:
            Path(name).unlink()
        return True

    def _owner(self) -> dict[str, Any] | None:
        try:
            record = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}

    def _is_stale(self, owner: Mapping[str, Any]) -> bool:
        try:
            since, pid = float(owner["since"]), int(owner["pid"])
        except (KeyError, TypeError, ValueError):
            return True
        if time.time() - since > self.ttl:
            return True
        return owner.get("host") == socket.gethostname() and not _is_alive(pid)

    def _break(self, seen: Mapping[str, Any] | None) -> None:
        # Renaming first lets exactly one of several waiters remove the stale file.
        grave = self.path.with_name(f"{self.path.name}.stale.{os.getpid()}")
        if seen is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(grave)
            grave.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


