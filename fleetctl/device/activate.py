"""Puts releases on this board, proves them, and goes back by itself unless somebody confirms.

One self-contained file for any Python from 3.7, standard library only: it is sent to a board ahead of each
request and runs from standard input, so a board needs nothing of ours beforehand. docs/board-protocol.md has
the words.

Whatever kills this process, at any instant, the board keeps one whole working release:

    blobs and releases   are written aside, checked, synced, and only then renamed to their names
    pending.json         is written before `current` is touched: what is under way, and how to undo it
    current              changes by one rename
    the watcher          runs before `current` is touched, outlives this process, undoes what nobody confirms
    recover              comes first in every changing verb and at boot: finishes or undoes what was cut short
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from typing import (
    Any,
    BinaryIO,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
)

POLL_S = 0.025
KEEP_RELEASES = 3
LOCK_WAIT_S = 10.0
DEADLINE_S = 300.0
CONFIRM_TIMEOUT_S = 30.0
STOP_PATIENCE_S = 5.0
WATCH_RETRY_S = 2.0
LOG_LINES_IN_ERROR = 20
MARGIN_BYTES = 1 << 20  # kept free beyond what a release needs: receipts, logs, directory entries
REQUEST_LIMIT = 8 << 20
HISTORY_LIMIT = 1 << 20
CONFIG_LIMIT = 16 << 10
OURS = {"blobs", "releases", "current", "state", "snapshot", "venv", "wheelhouse"}
DIGEST = re.compile(r"[0-9a-f]{64}\Z")

Json = Mapping[str, Any]
Checkpoint = Callable[[str], None]


class BoardError(Exception):
    """A verb cannot be done; `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


# --- bytes on disk ----------------------------------------------------------------------------------------


def fsync_directory(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def atomic_write(path: str, data: bytes, mode: int = 0o644) -> None:
    """Replace `path` so that a reader or a power cut sees the old bytes or the new, never a mix."""
    replace_file(path, data, mode)
    fsync_directory(os.path.dirname(path))


def replace_file(path: str, data: bytes, mode: int) -> None:
    """As `atomic_write`, but the caller syncs the folder: once for many files, flash memory being slow."""
    folder = os.path.dirname(path)
    handle, aside = tempfile.mkstemp(prefix=".new.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(aside, mode)
        os.rename(aside, path)
    except BaseException:
        remove(aside)
        raise


def swap_link(path: str, target: str) -> None:
    """Point the link `path` at `target` by one rename."""
    aside = "%s.new" % path
    remove(aside)
    os.symlink(target, aside)
    os.rename(aside, path)
    fsync_directory(os.path.dirname(path))


def remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def remove_folder(path: str) -> None:
    """Delete a folder under a name that nobody takes for a whole one."""
    trash = os.path.join(os.path.dirname(path), ".trash.%s" % os.path.basename(path))
    shutil.rmtree(trash, ignore_errors=True)
    os.rename(path, trash)
    shutil.rmtree(trash)


def sha256_file(path: str) -> Optional[str]:
    """Hex sha256 of a regular file; None where there is none."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return digest.hexdigest()


def read_json(path: str) -> Dict[str, Any]:
    """A JSON object from a file; empty where the file is absent or holds something else."""
    try:
        with open(path, "rb") as stream:
            value = json.loads(stream.read().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def to_json(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("utf-8") + b"\n"


def names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def boot_id() -> str:
    """What changes whenever the machine starts anew; the boot time where the kernel gives no identifier."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        asked = subprocess.run(
            ["sysctl", "-n", "kern.boottime"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        return hashlib.sha256(asked.stdout).hexdigest()


# --- the root folder --------------------------------------------------------------------------------------


class Board:
    """The folders of docs/board-protocol.md under one root, and the small state files in them."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.blobs = os.path.join(self.root, "blobs", "sha256")
        self.releases = os.path.join(self.root, "releases")
        self.current_link = os.path.join(self.root, "current")
        self.state = os.path.join(self.root, "state")
        self.snapshots = os.path.join(self.root, "snapshot")

    def make_folders(self) -> None:
        for folder in (self.blobs, self.releases, self.state):
            os.makedirs(folder, exist_ok=True)

    def in_state(self, name: str) -> str:
        return os.path.join(self.state, name)

    def blob(self, digest: str) -> str:
        return os.path.join(self.blobs, digest)

    def release(self, digest: str) -> str:
        return os.path.join(self.releases, digest)

    def has_release(self, digest: str) -> bool:
        return os.path.isfile(os.path.join(self.release(digest), "release.json"))

    @property
    def current(self) -> Optional[str]:
        """Digest of the release that `current` points at; None where it points at nothing of ours."""
        try:
            target = os.readlink(self.current_link)
        except OSError:
            return None
        folder, name = os.path.split(target)
        return name if folder == "releases" and DIGEST.match(name) and self.has_release(name) else None

    @property
    def good(self) -> Optional[str]:
        """Digest of the last confirmed release."""
        try:
            with open(self.in_state("good")) as stream:
                digest = stream.read().strip()
        except FileNotFoundError:
            return None
        return digest if DIGEST.match(digest) else None

    def set_good(self, digest: str) -> None:
        atomic_write(self.in_state("good"), digest.encode() + b"\n")

    def point_at(self, digest: str) -> None:
        swap_link(self.current_link, os.path.join("releases", digest))

    def staged(self) -> List[str]:
        """Digests of the releases that lie here whole, oldest first."""
        found = [name for name in names(self.releases) if DIGEST.match(name) and self.has_release(name)]
        return sorted(found, key=lambda digest: os.stat(self.release(digest)).st_mtime)

    def config(self, digest: str, name: str) -> Dict[str, Any]:
        return read_json(os.path.join(self.release(digest), name))


@contextlib.contextmanager
def locked(board: Board, verb: str, wait: float) -> Iterator[None]:
    """Hold `state/lock`; whoever holds it is named in it.

    Raises:
        BoardError: `busy`, when it is still held after `wait` seconds.
    """
    board.make_folders()
    handle = os.open(board.in_state("lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        give_up = time.monotonic() + wait
        while not try_flock(handle):
            if time.monotonic() > give_up:
                holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip()
                raise BoardError("busy", "another verb is at work on this board: %s" % (holder or "unknown"))
            time.sleep(POLL_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, ("%s, pid %d, since %s\n" % (verb, os.getpid(), utc())).encode(), 0)
        yield
    finally:
        os.close(handle)


def try_flock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_flocked(path: str) -> bool:
    """True while a process holds the lock on `path`: the kernel lets go of it however that process ends."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not try_flock(handle)
    finally:
        os.close(handle)


# --- releases and blobs -----------------------------------------------------------------------------------


class FileRef(NamedTuple):
    sha256: str
    size: int


def parse_manifest(text: str, digest: str) -> Dict[str, FileRef]:
    """The files of a release from the text of its `release.json`.

    Raises:
        BoardError: the text is not what its digest says, or names a file outside the release.
    """
    raw = text.encode("utf-8")
    if hashlib.sha256(raw).hexdigest() != digest:
        raise BoardError("bad-manifest", "the release's manifest does not match its digest")
    try:
        document = json.loads(text)
        if document["schema"] != "fleetctl.release/v1":
            raise ValueError("unknown schema")
        files = {path: FileRef(ref["sha256"], ref["size"]) for path, ref in document["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BoardError(
            "bad-manifest", "the release's manifest is not a fleetctl.release/v1 document"
        ) from None
    for path, ref in files.items():
        if not is_safe_path(path) or not isinstance(ref.sha256, str) or not DIGEST.match(ref.sha256):
            raise BoardError("bad-manifest", "the release's manifest names an unsafe file: %.80r" % path)
        if isinstance(ref.size, bool) or not isinstance(ref.size, int) or ref.size < 0:
            raise BoardError("bad-manifest", "the release's manifest gives %.80r no size" % path)
    return files


def is_safe_path(path: str) -> bool:
    parts = path.split("/")
    plain = re.match(r"[A-Za-z0-9._/-]+\Z", path) is not None
    return plain and path != "release.json" and not any(part in ("", ".", "..") for part in parts)


def release_files(board: Board, digest: str) -> Dict[str, FileRef]:
    """The files a staged release should have; empty where its `release.json` was altered."""
    try:
        with open(os.path.join(board.release(digest), "release.json"), encoding="utf-8") as stream:
            return parse_manifest(stream.read(), digest)
    except (BoardError, OSError, ValueError):
        return {}


def altered_files(board: Board, digest: str) -> List[str]:
    """Files of a staged release whose bytes are not what its manifest says."""
    folder = board.release(digest)
    files = release_files(board, digest)
    if not files:
        return ["release.json"]
    return [path for path, ref in files.items() if sha256_file(os.path.join(folder, path)) != ref.sha256]


def missing_blobs(board: Board, digests: Iterable[str]) -> List[str]:
    return [digest for digest in sorted(set(digests)) if sha256_file(board.blob(digest)) != digest]


def receive_blobs(board: Board, stream: BinaryIO, size: int, wanted: Mapping[str, int]) -> None:
    """Read `size` bytes of tar and keep its members; each is checked before it gets its name.

    Args:
        wanted: size by digest; nothing else is accepted.

    Raises:
        BoardError: `bad-bundle`; blobs that came whole are kept.
    """
    limited = LimitedReader(stream, size)
    try:
        with tarfile.open(fileobj=limited, mode="r|") as tar:
            for member in tar:
                if not member.isreg() or wanted.get(member.name) != member.size:
                    raise BoardError(
                        "bad-bundle", "the bundle holds something that was not asked for: %.80r" % member.name
                    )
                content = tar.extractfile(member)
                assert content is not None  # noqa: S101 - a regular member always has content
                keep_blob(board, member.name, content.read())
    except (tarfile.TarError, EOFError):
        raise BoardError("bad-bundle", "the bundle is damaged or was cut short") from None
    finally:
        fsync_directory(board.blobs)
    limited.drain()


def keep_blob(board: Board, digest: str, data: bytes) -> None:
    if hashlib.sha256(data).hexdigest() != digest:
        raise BoardError("bad-bundle", "blob %s arrived damaged" % digest[:12])
    replace_file(board.blob(digest), data, 0o444)


class LimitedReader(io.RawIOBase):
    """The next `size` bytes of a stream, and no more."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._left = size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def drain(self) -> None:
        while self._left and self.read(1 << 16):
            pass


def stage(
    board: Board, digest: str, manifest: str, files: Mapping[str, FileRef], checkpoint: Checkpoint
) -> None:
    """Lay out `releases/<digest>` from blobs, aside and then by one rename; repair one that was altered."""
    folder = board.release(digest)
    if board.has_release(digest):
        repair(board, digest, manifest, files)
        os.utime(folder)
        return
    aside = os.path.join(board.releases, ".new.%s" % digest)
    shutil.rmtree(aside, ignore_errors=True)
    os.makedirs(aside)
    for path, ref in files.items():
        link_blob(board, ref.sha256, os.path.join(aside, path))
    atomic_write(os.path.join(aside, "release.json"), manifest.encode("utf-8"))
    for inside, _, _ in os.walk(aside):
        fsync_directory(inside)
    checkpoint("staged-aside")
    os.rename(aside, folder)
    fsync_directory(board.releases)


def repair(board: Board, digest: str, manifest: str, files: Mapping[str, FileRef]) -> None:
    """Put back, one rename each, the files of a staged release that somebody changed."""
    folder = board.release(digest)
    manifest_path = os.path.join(folder, "release.json")
    if sha256_file(manifest_path) != digest:
        atomic_write(manifest_path, manifest.encode("utf-8"))
    for path, ref in files.items():
        target = os.path.join(folder, path)
        if sha256_file(target) != ref.sha256:
            remove("%s.new" % target)
            link_blob(board, ref.sha256, "%s.new" % target)
            os.rename("%s.new" % target, target)
            fsync_directory(os.path.dirname(target))


def link_blob(board: Board, digest: str, target: str) -> None:
    """A hard link to the blob; a copy where the file system has none."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    try:
        os.link(board.blob(digest), target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EMLINK, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS):
            raise
        with open(board.blob(digest), "rb") as stream:
            atomic_write(target, stream.read(), 0o444)


def collect(board: Board, keep: Set[Optional[str]], at_least: int = KEEP_RELEASES) -> None:
    """Delete releases beyond the newest `at_least`, never one of `keep`, and the blobs nobody refers to."""
    kept = {digest for digest in keep if digest}
    staged = board.staged()
    for digest in reversed(staged):
        if len(kept) < at_least:
            kept.add(digest)
    for digest in staged:
        if digest not in kept:
            remove_folder(board.release(digest))
    referenced = {ref.sha256 for digest in board.staged() for ref in release_files(board, digest).values()}
    for name in names(board.blobs):
        if name not in referenced:
            remove(board.blob(name))


def sweep(board: Board) -> None:
    """Remove what a killed verb left half-written; only ever called under the lock."""
    for folder in (board.blobs, board.state, board.root):
        for name in names(folder):
            if name.startswith(".new.") or name == "current.new":
                remove(os.path.join(folder, name))
    for name in names(board.releases):
        if name.startswith((".new.", ".trash.")):
            shutil.rmtree(os.path.join(board.releases, name))


def free_bytes(path: str) -> int:
    disk = os.statvfs(path)
    return disk.f_frsize * (disk.f_bfree if os.geteuid() == 0 else disk.f_bavail)


def make_room(board: Board, needed: int, keep: Set[Optional[str]]) -> None:
    """See to `needed` bytes of free disk, giving up old releases if that helps.

    Raises:
        BoardError: `no-space`.
    """
    if free_bytes(board.root) >= needed + MARGIN_BYTES:
        return
    collect(board, keep, at_least=0)
    free = free_bytes(board.root)
    if free < needed + MARGIN_BYTES:
        raise BoardError(
            "no-space",
            "%d KiB of disk are free, %d KiB are needed" % (free >> 10, (needed + MARGIN_BYTES) >> 10),
        )


# --- what was here before us ------------------------------------------------------------------------------


def foreign_names(board: Board) -> List[str]:
    """What lies in the root and is not ours: anything unknown, and a `current` we did not make."""
    if os.path.exists(board.in_state("adopted.json")):
        return []
    found = [name for name in names(board.root) if name not in OURS and not name.startswith(".new.")]
    if os.path.lexists(board.current_link) and board.current is None:
        found.append("current")
    return found


def adopt(board: Board, unit_path: Optional[str], checkpoint: Checkpoint) -> None:
    """Once, before anything is touched: keep a snapshot of a foreign root, and note how its `current` was."""
    marker = board.in_state("adopted.json")
    if os.path.exists(marker):
        return
    foreign = foreign_names(board)
    unit = unit_path if unit_path and os.path.isfile(unit_path) and board.current is None else None
    note: Dict[str, Any] = {"time": utc(), "foreign": foreign, "link": None, "unit": None, "snapshot": None}
    if foreign or unit:
        make_room(board, sum(tree_size(os.path.join(board.root, name)) for name in foreign), set())
        note["snapshot"] = snapshot(board, foreign, unit)
        checkpoint("snapshot-taken")
    if "current" in foreign and os.path.islink(board.current_link):
        note["link"] = os.readlink(board.current_link)
    if unit:
        with open(unit, encoding="utf-8", errors="surrogateescape") as stream:
            note["unit"] = stream.read()
    atomic_write(marker, to_json(note))


def snapshot(board: Board, foreign: Sequence[str], unit: Optional[str]) -> str:
    os.makedirs(board.snapshots, exist_ok=True)
    path = os.path.join(board.snapshots, "%s.tar" % utc().replace(":", ""))
    aside = os.path.join(board.snapshots, ".new.%d" % os.getpid())
    try:
        with open(aside, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
                for name in foreign:
                    tar.add(os.path.join(board.root, name), arcname=name)
                if unit:
                    tar.add(unit, arcname="unit/%s" % os.path.basename(unit))
            stream.flush()
            os.fsync(stream.fileno())
        os.rename(aside, path)
    except BaseException:
        remove(aside)
        raise
    fsync_directory(board.snapshots)
    return path


def tree_size(path: str) -> int:
    if not os.path.isdir(path) or os.path.islink(path):
        return os.lstat(path).st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, files in os.walk(path) for name in files
    )


def set_foreign_current_aside(board: Board) -> None:
    """A foreign `current` that is a folder cannot be renamed over; it keeps its place in `current.before`."""
    if os.path.isdir(board.current_link) and not os.path.islink(board.current_link):
        os.rename(board.current_link, "%s.before" % board.current_link)


def restore_foreign_current(board: Board) -> None:
    """The `current` from before the first adoption; nothing, if there was none."""
    before = "%s.before" % board.current_link
    link = read_json(board.in_state("adopted.json")).get("link")
    if isinstance(link, str):
        swap_link(board.current_link, link)
    elif os.path.islink(board.current_link):
        remove(board.current_link)
    if os.path.isdir(before) and not os.path.lexists(board.current_link):
        os.rename(before, board.current_link)
    fsync_directory(board.root)


# --- the service ------------------------------------------------------------------------------------------


class ProcessService:
    """Keeps `serve.py` running as a plain detached process.

    `serve.pid` is locked on behalf of the service before it is born, and the service inherits the lock: the
    file is locked for exactly as long as the service lives, whoever dies before it.
    """

    def __init__(self, board: Board, config: Json) -> None:
        self._board = board
        self._python = str(config.get("python") or sys.executable)
        self._pidfile = board.in_state("serve.pid")
        self._log = board.in_state("serve.log")
        self._log_start = 0  # where in the log the process that we started begins
        self._child: Optional[subprocess.Popen[bytes]] = None

    @property
    def pid(self) -> Optional[int]:
        words = words_of(self._pidfile) if is_flocked(self._pidfile) else []
        return int(words[0]) if words and words[0].isdigit() else None

    def check(self) -> None:
        """Nothing has to be there but the interpreter, and starting shows whether that is."""

    def start(self, digest: str) -> None:
        self.stop()
        folder = self._board.release(digest)
        argv = [self._python, os.path.join(folder, "runtime", "serve.py"), "--release", folder]
        shorten(self._log, 1 << 20)
        lock = self._lock_pidfile()
        try:
            with open(self._log, "ab") as log:
                self._log_start = log.tell()
                self._child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._board.root,
                    start_new_session=True,
                    pass_fds=(lock,),
                    preexec_fn=lambda: write_pid(lock),
                )
        finally:
            os.close(lock)

    def _lock_pidfile(self) -> int:
        handle = os.open(self._pidfile, os.O_RDWR | os.O_CREAT, 0o644)
        # Somebody may hold it for a moment, to see whether it is held.
        if not wait_until(lambda: try_flock(handle), STOP_PATIENCE_S):
            os.close(handle)
            raise BoardError("service-failed", "another service holds %s" % self._pidfile)
        os.ftruncate(handle, 0)
        return handle

    def stop(self) -> None:
        """Ask it to end; end it if it does not."""
        wait_until(lambda: self.pid is not None or not is_flocked(self._pidfile), STOP_PATIENCE_S)
        pid = self.pid
        if pid is not None:
            signal_process(pid, signal.SIGTERM)
            if not self._wait_for_end():
                signal_process(pid, signal.SIGKILL)
                self._wait_for_end()
        if self._child is not None:
            self._child.wait()
            self._child = None

    def _wait_for_end(self) -> bool:
        return wait_until(lambda: not is_flocked(self._pidfile), STOP_PATIENCE_S)

    def death(self) -> str:
        """How the service died, or empty while it lives."""
        if self._child is not None and self._child.poll() is not None:
            return "it ended with status %d" % self._child.returncode
        return ""

    def is_ours(self, pid: Any) -> bool:
        return pid is not None and pid == self.pid

    def forget(self) -> None:
        """Nothing is left to uninstall."""
        self.stop()

    def log_tail(self, lines: int) -> List[str]:
        return tail(self._log, lines, self._log_start)


def write_pid(handle: int) -> None:
    os.pwrite(handle, b"%d\n" % os.getpid(), 0)


class SystemdService:
    """Has systemd keep the unit of the release running."""

    def __init__(self, board: Board, config: Json, unit_folder: str) -> None:
        self._board = board
        self._unit = str(config.get("unit") or "fleetctl-serve.service")
        if not re.match(r"[A-Za-z0-9@_.-]+\.service\Z", self._unit):
            raise BoardError("bad-release", "not a name of a systemd service: %.80r" % self._unit)
        self.unit_path = os.path.join(unit_folder, self._unit)
        self._asked = 0.0
        self._seen: Dict[str, str] = {}

    @property
    def pid(self) -> Optional[int]:
        shown = self._show()
        return int(shown.get("MainPID", "0")) or None

    def check(self) -> None:
        """Raises `no-systemd` before anything is touched."""
        if not self._is_present:
            raise BoardError(
                "no-systemd", "this board has no systemctl; the manifest can say `service: process`"
            )

    @property
    def _is_present(self) -> bool:
        return shutil.which("systemctl") is not None

    def start(self, digest: str) -> None:
        rendered = os.path.join(self._board.release(digest), "unit", self._unit)
        with open(rendered, "rb") as stream:
            unit = stream.read()
        if sha256_file(self.unit_path) != hashlib.sha256(unit).hexdigest():
            atomic_write(self.unit_path, unit)
            self._systemctl("daemon-reload")
            self._systemctl("enable", self._unit)
        self._systemctl(
            "reset-failed", self._unit, check=False
        )  # else earlier crashes count against this start
        self._systemctl("restart", self._unit)

    def stop(self) -> None:
        self._systemctl("stop", self._unit, check=False)

    def forget(self) -> None:
        """Stop it, and leave behind the unit that was there before us, if there was one."""
        before = read_json(self._board.in_state("adopted.json")).get("unit")
        self.stop()
        if isinstance(before, str):
            atomic_write(self.unit_path, before.encode("utf-8", "surrogateescape"))
            self._systemctl("daemon-reload")
            self._systemctl("restart", self._unit)
        else:
            self._systemctl("disable", self._unit, check=False)
            remove(self.unit_path)
            self._systemctl("daemon-reload")

    def death(self) -> str:
        if time.monotonic() - self._asked < 8 * POLL_S:  # asking costs a process
            return ""
        self._asked = time.monotonic()
        self._seen = self._show()
        if (
            self._seen.get("ActiveState") in ("failed", "inactive")
            or self._seen.get("SubState") == "auto-restart"
        ):
            return "systemd says %s (%s)" % (self._seen.get("ActiveState"), self._seen.get("SubState"))
        return ""

    def is_ours(self, pid: Any) -> bool:
        return pid is not None and pid == self.pid

    def log_tail(self, lines: int) -> List[str]:
        argv = ["journalctl", "--unit", self._unit, "--lines", str(lines), "--no-pager", "--output", "cat"]
        try:
            told = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return ["(no journal: %s)" % error]
        return told.stdout.decode("utf-8", "replace").splitlines()

    def _show(self) -> Dict[str, str]:
        text = self._systemctl("show", "--property=ActiveState,SubState,MainPID", self._unit, check=False)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def _systemctl(self, *words: str, check: bool = True) -> str:
        argv = ["systemctl", *words]
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90
            )
        except subprocess.TimeoutExpired:
            raise BoardError("service-failed", "`%s` did not return" % " ".join(argv)) from None
        if check and done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise BoardError("service-failed", "`%s` failed: %.500s" % (" ".join(argv), said))
        return done.stdout.decode("utf-8", "replace")


def service_of(board: Board, digest: str, unit_folder: str) -> Any:
    """The service manager that a release asks for."""
    config = board.config(digest, "config/service.json")
    manager = config.get("manager")
    if manager == "systemd":
        return SystemdService(board, config, unit_folder)
    if manager == "process":
        return ProcessService(board, config)
    raise BoardError(
        "bad-release", "config/service.json names no service manager we know: %.80r" % (manager,)
    )


def signal_process(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until(is_so: Callable[[], bool], patience: float) -> bool:
    give_up = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > give_up:
            return False
        time.sleep(POLL_S)
    return True


def tail(path: str, lines: int, start: int = 0) -> List[str]:
    """The last lines of a file from offset `start` on, of at most its last 256 KiB."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(start, os.fstat(stream.fileno()).st_size - (256 << 10)))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-lines:] if lines > 0 else []


def shorten(path: str, limit: int) -> None:
    """Keep the last half of a file that outgrew `limit` bytes."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.getsize(path) > limit:
            with open(path, "rb") as stream:
                stream.seek(-limit // 2, os.SEEK_END)
                stream.readline()
                atomic_write(path, stream.read())


def healthz(config: Json, timeout: float = 2.0) -> Dict[str, Any]:
    """What the serving process says about itself; empty while nothing useful answers."""
    host, port = str(config.get("host", "127.0.0.1")), config.get("port")
    if isinstance(port, bool) or not isinstance(port, int):
        return {}
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")  # http.client is slow to import on a board
            with connection.makefile("rb") as stream:
                head, _, body = stream.read(1 << 16).partition(b"\r\n\r\n")
        reply = json.loads(body.decode("utf-8"))
    except (OSError, ValueError):
        return {}
    return reply if isinstance(reply, dict) and b" 200 " in head.split(b"\r\n")[0] else {}


# --- the board's vital signs ------------------------------------------------------------------------------


def health(root: str) -> Dict[str, Any]:
    """Temperature, throttling, disk, memory, load and uptime; null where the board has no such sensor."""
    throttled = throttle_flags()
    return {
        "temperature_c": temperature(),
        "throttled": None if throttled is None else bool(throttled & 0xF),  # bits 0-3: now; 16-19: since boot
        "throttled_flags": throttled,
        "disk_free_bytes": free_bytes(root) if os.path.isdir(root) else None,
        "memory_free_bytes": memory_free(),
        "uptime_s": uptime(),
        "load1": os.getloadavg()[0],
    }


def temperature() -> Optional[float]:
    """The hottest thermal zone in degrees Celsius."""
    zones = [name for name in names("/sys/class/thermal") if name.startswith("thermal_zone")]
    found = [words_of("/sys/class/thermal/%s/temp" % zone) for zone in zones]
    degrees = [int(words[0]) / 1000.0 for words in found if words and re.match(r"-?\d+\Z", words[0])]
    return max(degrees) if degrees else None


def words_of(path: str) -> List[str]:
    """The words in a small file of the kernel; none where it is absent or its sensor fails."""
    try:
        with open(path) as stream:
            return stream.read().split()
    except (OSError, ValueError):
        return []


def throttle_flags() -> Optional[int]:
    """The bits of `vcgencmd get_throttled` on a Raspberry Pi."""
    try:
        asked = subprocess.run(
            ["vcgencmd", "get_throttled"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5
        )
        return int(asked.stdout.decode().strip().split("=", 1)[1], 16)
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return None


def memory_free() -> Optional[int]:
    words = words_of("/proc/meminfo")
    place = words.index("MemAvailable:") if "MemAvailable:" in words else None
    return None if place is None else int(words[place + 1]) * 1024


def uptime() -> Optional[float]:
    words = words_of("/proc/uptime")
    return float(words[0]) if words else None


def has_edge_tpu() -> bool:
    """True where an Edge TPU shows on PCIe, or on USB (1a6e:089a before its firmware, 18d1:9302 after)."""
    if any(name.startswith("apex_") for name in names("/dev")):
        return True
    devices = "/sys/bus/usb/devices"
    identities = (
        words_of(os.path.join(devices, name, "idVendor")) + words_of(os.path.join(devices, name, "idProduct"))
        for name in names(devices)
    )
    return any(identity in (["1a6e", "089a"], ["18d1", "9302"]) for identity in identities)


# --- receipts ---------------------------------------------------------------------------------------------


class Records:
    """`receipt.json` and `history.jsonl`. A full disk must not keep a board from going back, so a file of
    ballast is given up when there is no room left for a record."""

    BALLAST_BYTES = 256 << 10

    def __init__(self, board: Board) -> None:
        self._board = board
        self._ballast = board.in_state("ballast")

    def prepare(self) -> None:
        if not os.path.exists(self._ballast):
            atomic_write(self._ballast, os.urandom(self.BALLAST_BYTES), 0o600)

    def write(self, name: str, value: Json) -> None:
        path, data = self._board.in_state(name), to_json(value)
        try:
            atomic_write(path, data)
        except OSError as error:
            if not is_full(error) or not os.path.exists(self._ballast):
                raise
            remove(self._ballast)
            atomic_write(path, data)

    @property
    def pending(self) -> Dict[str, Any]:
        return read_json(self._board.in_state("pending.json"))

    @property
    def receipt(self) -> Optional[Dict[str, Any]]:
        return read_json(self._board.in_state("receipt.json")) or None

    def keep(self, receipt: Json) -> None:
        self.write("receipt.json", receipt)
        path = self._board.in_state("history.jsonl")
        shorten(path, HISTORY_LIMIT)
        with open(path, "ab+") as stream:
            whole = stream.tell() == 0 or os.pread(stream.fileno(), 1, stream.tell() - 1) == b"\n"
            stream.write((b"" if whole else b"\n") + to_json(receipt))
            stream.flush()
            os.fsync(stream.fileno())

    def history(self, last: int) -> List[Dict[str, Any]]:
        """The last receipts, oldest first; a line that a crash cut short is left out."""
        found = []
        for line in tail_lines(self._board.in_state("history.jsonl")):
            with contextlib.suppress(ValueError):
                record = json.loads(line.decode("utf-8"))
                if isinstance(record, dict):
                    found.append(record)
        return found[-last:] if last > 0 else []


def tail_lines(path: str) -> List[bytes]:
    try:
        with open(path, "rb") as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


# --- trying, proving, keeping, going back -----------------------------------------------------------------

TRYING, PROVED, KEEPING, REVERTING = "trying", "proved", "keeping", "reverting"


class Activation:
    """The changing verbs. Every method that changes anything is called under the lock."""

    def __init__(self, board: Board, checkpoint: Checkpoint, unit_folder: str) -> None:
        self.board = board
        self.records = Records(board)
        self.checkpoint = checkpoint
        self.unit_folder = unit_folder

    # forward

    def try_release(self, digest: str, previous: Optional[str], order: Json) -> Dict[str, Any]:
        """Swap to a staged release, start it and prove it. Ends pending, or back on `previous`.

        Returns `{"state": "pending" | "reverted" | "revert_failed", "receipt": ...}`.
        """
        limit = time.monotonic() + number(order, "deadline", DEADLINE_S)
        self.records.write("pending.json", self._pending(digest, previous, order, TRYING, limit))
        self.checkpoint("pending-written")
        start_watcher(self)
        self.checkpoint("watcher-started")
        try:
            receipt = self._swap_and_prove(digest, previous, order, limit)
        except (BoardError, OSError) as error:
            receipt = self._receipt(digest, previous, order, {}, health(self.board.root))
            receipt.update(self._judge(digest, receipt))
            receipt["reasons"] = [str(error)] + ([] if receipt["outcome"] == "failed" else receipt["reasons"])
            return self.revert(receipt)
        if receipt["outcome"] == "failed":
            return self.revert(receipt)
        self.records.keep(receipt)
        self.checkpoint("receipt-written")
        until = time.monotonic() + number(order, "confirm_timeout", CONFIRM_TIMEOUT_S)
        self.records.write("pending.json", self._pending(digest, previous, order, PROVED, until))
        self.checkpoint("proved")
        return {"state": "pending", "receipt": receipt}

    def _swap_and_prove(
        self, digest: str, previous: Optional[str], order: Json, limit: float
    ) -> Dict[str, Any]:
        if self.board.current is None:
            set_foreign_current_aside(self.board)
        self.board.point_at(digest)
        self.checkpoint("swapped")
        if previous is not None and not self._same_manager(previous, digest):
            self.service(previous).forget()
        self.start(digest, limit)
        self.checkpoint("started")
        receipt = self.prove(digest, previous, order, limit)
        self.checkpoint("judged")
        return receipt

    def _same_manager(self, one: str, other: str) -> bool:
        first, second = (self.board.config(digest, "config/service.json") for digest in (one, other))
        return (first.get("manager"), first.get("unit")) == (second.get("manager"), second.get("unit"))

    def start(self, digest: str, limit: float) -> Dict[str, Any]:
        """Start the service on a release and wait until the new process itself says that it serves it.

        Raises:
            BoardError: it died, or did not answer in time; the last lines of its log are in the message.
        """
        service = self.service(digest)
        config = self.board.config(digest, "config/serve.json")
        service.start(digest)
        while True:
            said = healthz(config)
            if said.get("release") == digest and service.is_ours(said.get("pid")):
                return said
            death = service.death()
            if not death and time.monotonic() > limit:
                death = "it did not answer in time"
            if death:
                lines = service.log_tail(LOG_LINES_IN_ERROR)
                raise BoardError(
                    "service-failed", "\n".join(["the service did not start: %s" % death, *lines])
                )
            time.sleep(POLL_S)

    def prove(self, digest: str, previous: Optional[str], order: Json, limit: float) -> Dict[str, Any]:
        """Ask the serving process the golden samples and judge what it says: a whole receipt."""
        evidence = self._run_probe(digest, max(1.0, limit - time.monotonic()))
        receipt = self._receipt(digest, previous, order, evidence, health(self.board.root))
        receipt.update(self._judge(digest, receipt))
        return receipt

    def _run_probe(self, digest: str, patience: float) -> Dict[str, Any]:
        folder = self.board.release(digest)
        return self._run(digest, ["probe.py", "--release", folder], {}, patience)

    def _judge(self, digest: str, receipt: Json, smoke: Optional[Json] = None) -> Dict[str, Any]:
        """`outcome` and `reasons`, by the release's own judge; a judge that fails is a failure."""
        files = release_files(self.board, digest)
        model = files.get("model/model.tflite")
        asked = {
            "contract": self.board.config(digest, "model/contract.json"),
            "smoke": self.board.config(digest, "config/smoke.json") if smoke is None else smoke,
            "receipt": receipt,
            "ordered": {
                "board": receipt["board"],
                "release": digest,
                "model_sha256": model.sha256 if model else "",
            },
        }
        try:
            judged = self._run(digest, ["judge.py"], asked, 60.0)
        except BoardError as error:
            return {"outcome": "failed", "reasons": [str(error)]}
        outcome = judged.get("outcome")
        known = outcome in ("passed", "failed", "inconclusive")
        return {"outcome": outcome if known else "failed", "reasons": list(judged.get("reasons", []))}

    def _run(self, digest: str, words: Sequence[str], request: Json, patience: float) -> Dict[str, Any]:
        """Run a script of the release with the release's Python: JSON in, JSON out."""
        python = str(self.board.config(digest, "config/service.json").get("python") or sys.executable)
        script = os.path.join(self.board.release(digest), "runtime", words[0])
        argv = [python, "-B", script, *words[1:]]
        try:
            done = subprocess.run(
                argv, input=to_json(request), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=patience
            )
            reply = json.loads(done.stdout.decode("utf-8")) if done.returncode == 0 else None
        except subprocess.TimeoutExpired:
            raise BoardError("probe-failed", "%s did not finish in %.0f s" % (words[0], patience)) from None
        except (OSError, ValueError) as error:
            raise BoardError("probe-failed", "%s: %s" % (words[0], error)) from None
        if not isinstance(reply, dict):
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no answer"]
            raise BoardError("probe-failed", "%s failed: %.300s" % (words[0], said[0]))
        return reply

    def _receipt(
        self, digest: str, previous: Optional[str], order: Json, evidence: Json, vital: Json
    ) -> Dict[str, Any]:
        wanted = self.board.config(digest, "config/smoke.json").get("accelerator")
        used = evidence.get("accelerator")
        return {
            "schema": "fleetctl.receipt/v1",
            "board": order.get("board") or self.board.config(digest, "config/serve.json").get("board"),
            "release": digest,
            "previous": previous,
            "commit": order.get("commit"),
            "time": utc(),
            "loaded": evidence.get("loaded"),
            "accelerator": {"wanted": wanted, "used": used, "present": used == "edgetpu" or has_edge_tpu()},
            "runtime": evidence.get("runtime"),
            "answers": evidence.get("answers", []),
            "latency_ms": evidence.get("latency_ms"),
            "health": vital,
            "state": "pending",
            "outcome": "failed",
            "reasons": [],
        }

    # keep

    def confirm(self, digest: str) -> Dict[str, Any]:
        """Keep the release that is on probation.

        Raises:
            BoardError: `not-pending`, or `not-serving` when its service no longer runs it.
        """
        pending = self.records.pending
        if pending.get("release") != digest:
            if not pending and self.board.good == digest == self.board.current:
                return {"state": "confirmed", "current": digest}
            raise BoardError("not-pending", "release %s is not waiting to be confirmed" % digest[:12])
        if not self.serves(digest):
            raise BoardError("not-serving", "the service no longer serves release %s" % digest[:12])
        self.records.write("pending.json", dict(pending, phase=KEEPING))
        self.checkpoint("keeping")
        return self.finish_keeping()

    def finish_keeping(self) -> Dict[str, Any]:
        pending = self.records.pending
        digest = pending["release"]
        self.board.set_good(digest)
        self.checkpoint("good-written")
        receipt = self.records.receipt or {}
        if receipt.get("release") == digest and receipt.get("state") != "confirmed":
            self.records.keep(dict(receipt, state="confirmed", time=utc()))
        self.checkpoint("confirmation-recorded")
        remove(self.board.in_state("pending.json"))
        fsync_directory(self.board.state)
        self.checkpoint("confirmed")
        collect(self.board, {digest, self.board.current, pending.get("previous")})
        return {"state": "confirmed", "current": digest}

    # back

    def revert(self, receipt: Json) -> Dict[str, Any]:
        """Go back from the release that is on probation; `receipt` is what is known about it."""
        pending = dict(self.records.pending, phase=REVERTING, receipt=dict(receipt))
        try:
            self.records.write("pending.json", pending)
        except OSError as error:  # not noted is bad, not going back is worse
            complain("cannot note that %s is being reverted: %s" % (str(receipt["release"])[:12], error))
        self.checkpoint("reverting")
        return self._finish_revert(pending)

    def _finish_revert(self, pending: Json) -> Dict[str, Any]:
        release, previous = pending["release"], pending.get("previous")
        receipt = dict(pending["receipt"])
        self.point_back(previous)
        self.checkpoint("swapped-back")
        # Twice: there is nothing else to fall back on.
        trouble = self._serve_again(release, previous) and self._serve_again(release, previous)
        self.checkpoint("serving-again")
        receipt.update(state="revert_failed" if trouble else "reverted", time=utc())
        receipt["reasons"] = list(receipt.get("reasons", [])) + ([trouble] if trouble else [])
        receipt["restored"] = previous
        try:
            self.records.keep(receipt)
        except OSError as error:
            complain("cannot record that %s was reverted: %s" % (release[:12], error))
        self.checkpoint("reversal-recorded")
        remove(self.board.in_state("pending.json"))
        fsync_directory(self.board.state)
        return {"state": receipt["state"], "current": self.board.current, "receipt": receipt}

    def point_back(self, previous: Optional[str]) -> None:
        if previous is None:
            restore_foreign_current(self.board)
        elif self.board.current != previous:
            self.board.point_at(previous)

    def _serve_again(self, release: str, previous: Optional[str]) -> str:
        """Have the previous release served and proved; returns what is wrong, empty if nothing is."""
        try:
            if previous is None:
                self.service(release).forget()
                return ""
            if not self._same_manager(release, previous):
                self.service(release).forget()
            return self._prove_restored(previous)
        except (BoardError, OSError) as error:
            return "going back failed: %s" % error

    def _prove_restored(self, previous: str) -> str:
        """Correct answers count, their speed does not: the release was good, and the board may be busy."""
        limit = time.monotonic() + DEADLINE_S
        if not self.serves(previous):
            self.start(previous, min(limit, time.monotonic() + 60.0))
        receipt = self.prove(previous, None, {}, limit)
        smoke = dict(self.board.config(previous, "config/smoke.json"), max_p95_ms=None)
        judged = self._judge(previous, receipt, smoke)
        return (
            ""
            if judged["outcome"] != "failed"
            else "the restored release fails too: %s" % "; ".join(judged["reasons"])
        )

    def serves(self, digest: str) -> bool:
        said = healthz(self.board.config(digest, "config/serve.json"))
        return said.get("release") == digest and bool(self.service(digest).is_ours(said.get("pid")))

    # after a crash

    def recover(self) -> str:
        """Finish or undo what was cut short: `clean`, `pending`, `confirmed`, `reverted` or `revert_failed`.

        The lock is ours, so whoever wrote `pending.json` is no longer at work on it.
        """
        sweep(self.board)
        pending = self.records.pending
        phase = pending.get("phase")
        if not pending:
            remove(self.board.in_state("pending.json"))  # it may be there, and be no JSON
            return "clean"
        if phase == KEEPING:
            return str(self.finish_keeping()["state"])
        if phase == REVERTING:
            return str(self._finish_revert(pending)["state"])
        reason = self._lapsed(pending)
        return str(self.revert(self.receipt_of_lapsed(pending, reason))["state"]) if reason else "pending"

    def _lapsed(self, pending: Json) -> str:
        """Why a release on probation must go back now; empty while it may still be confirmed."""
        if pending.get("boot_id") != boot_id():
            return "the board was restarted before the release was confirmed"
        if pending.get("phase") != PROVED:
            return "the activation was cut short"
        if time.monotonic() >= pending.get("deadline_monotonic", 0.0):
            return "nobody confirmed the release in time"
        if not is_flocked(self.board.in_state("watch.lock")):
            return "the watcher died before the release was confirmed"
        return ""

    def receipt_of_lapsed(self, pending: Json, reason: str) -> Dict[str, Any]:
        digest = pending["release"]
        last = self.records.receipt or {}
        if last.get("release") != digest or last.get("state") != "pending":
            last = self._receipt(digest, pending.get("previous"), pending, {}, health(self.board.root))
        return dict(last, reasons=[*last.get("reasons", []), reason])

    def settle_link(self) -> str:
        """Before the service manager starts the service: only see to it that `current` is safe to start."""
        pending = self.records.pending
        if not pending or pending.get("phase") == KEEPING:
            return "clean"
        if pending.get("phase") != REVERTING:
            reason = self._lapsed(pending)
            if not reason:
                return "pending"
            receipt = self.receipt_of_lapsed(pending, reason)
            self.records.write("pending.json", dict(pending, phase=REVERTING, receipt=receipt))
        self.point_back(pending.get("previous"))
        return "reverting"

    def service(self, digest: str) -> Any:
        return service_of(self.board, digest, self.unit_folder)

    def _pending(
        self, digest: str, previous: Optional[str], order: Json, phase: str, limit: float
    ) -> Dict[str, Any]:
        left = limit - time.monotonic()
        return {
            "release": digest,
            "previous": previous,
            "phase": phase,
            "board": order.get("board"),
            "commit": order.get("commit"),
            "confirm_by": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left)),
            "deadline_monotonic": limit,  # counts from boot for every process, whatever is done to the clock
            "boot_id": boot_id(),
        }


# --- the watcher ------------------------------------------------------------------------------------------


def start_watcher(activation: Activation) -> None:
    """Leave behind a process that undoes the pending release unless it is confirmed; returns once it watches.

    It is a fork, not a new program: it needs no file of ours on the board, and runs the very code that wrote
    the state it watches.
    """
    shorten(activation.board.in_state("watch.log"), 64 << 10)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        become_watcher(activation, writer)
    os.close(writer)
    os.waitpid(child, 0)
    alive = os.read(reader, 1)
    os.close(reader)
    if not alive:
        raise BoardError("watcher-failed", "the watcher did not start, so nothing was changed")


def become_watcher(activation: Activation, ready: int) -> None:
    """Never returns: the rest of a detached process."""
    status = 1
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        log = os.open(activation.board.in_state("watch.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        for handle in range(3, 256):  # the caller's lock and pipes among them
            if handle != ready:
                with contextlib.suppress(OSError):
                    os.close(handle)
        watch(activation, ready)
        status = 0
    except BaseException:  # noqa: BLE001 - nobody is left to catch it; the log says why
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def watch(activation: Activation, ready: int) -> None:
    """One watcher at a time; a second one waits for the first to end, then sees to what is pending then."""
    board = activation.board
    handle = os.open(board.in_state("watch.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    free = try_flock(handle)
    os.write(ready, b"!")
    os.close(ready)
    if not free:
        fcntl.flock(handle, fcntl.LOCK_EX)
    while activation.records.pending:
        if not is_flocked(board.in_state("lock")) and must_revert(activation.records.pending):
            undo(activation)
        time.sleep(2 * POLL_S)


def must_revert(pending: Json) -> bool:
    """True when the deadline has passed; and while no verb is at work, for anything it left unfinished."""
    if not pending:
        return False
    return pending.get("phase") != PROVED or time.monotonic() >= pending.get("deadline_monotonic", 0.0)


def undo(activation: Activation) -> None:
    try:
        with locked(activation.board, "watch", 1.0):
            say("watch: %s" % activation.recover())
    except (BoardError, OSError) as error:
        if isinstance(error, BoardError) and error.code == "busy":
            return  # a verb came first; look again when it is done
        complain(
            "watch: %s" % error
        )  # a disk may be full for a while: giving up would leave the board on trial
        time.sleep(WATCH_RETRY_S)


def say(text: str) -> None:
    sys.stdout.write("%s %s\n" % (utc(), text))
    sys.stdout.flush()


def complain(text: str) -> None:
    sys.stderr.write("%s %s\n" % (utc(), text))
    sys.stderr.flush()


# --- the verbs --------------------------------------------------------------------------------------------


class Call(NamedTuple):
    """One verb being answered: the board, the request, and the bytes that follow it."""

    board: Board
    request: Dict[str, Any]
    stream: BinaryIO
    checkpoint: Checkpoint
    unit_folder: str
    before_start: bool

    @property
    def activation(self) -> Activation:
        return Activation(self.board, self.checkpoint, self.unit_folder)

    def lock(self, verb: str) -> Any:
        return locked(self.board, verb, number(self.request, "lock_timeout", LOCK_WAIT_S))


def number(request: Json, key: str, default: float) -> float:
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
        raise BoardError("bad-request", "%s is not a number of seconds" % key)
    return float(value)


def digest_of(request: Json, key: str) -> str:
    value = request.get(key)
    if not isinstance(value, str) or not DIGEST.match(value):
        raise BoardError("bad-request", "%s is not a digest" % key)
    return value


def observe(call: Call) -> Dict[str, Any]:
    board = call.board
    current = board.current
    records = Records(board)
    files: Dict[str, Any] = {}
    config: Dict[str, Any] = {}
    if current:
        folder = board.release(current)
        found = (
            (path, sha256_file(os.path.join(folder, path)), ref.size)
            for path, ref in release_files(board, current).items()
        )
        files = {path: {"sha256": digest, "size": size} for path, digest, size in found if digest}
        config = board.config(current, "config/serve.json")
    return {
        "schema": "fleetctl.observation/v1",
        "current": current,
        "good": board.good,
        "pending": records.pending or None,
        "foreign": bool(foreign_names(board)),
        "files": files,
        "config": config if len(to_json(config)) <= CONFIG_LIMIT else None,
        "service": service_state(current, config),
        "receipt": records.receipt,
        "health": health(board.root),
        "time": utc(),
    }


def service_state(current: Optional[str], config: Json) -> Dict[str, Any]:
    if current is None:
        return {"state": "absent", "loaded": None}
    said = healthz(config)
    if said.get("status") != "ok":
        return {"state": "stopped", "loaded": None}
    return {
        "state": "running",
        "loaded": {
            key: said.get(key) for key in ("release", "model_sha256", "accelerator", "pid", "started")
        },
    }


def missing(call: Call) -> Dict[str, Any]:
    blobs = call.request.get("blobs")
    if not isinstance(blobs, list) or not all(isinstance(blob, str) and DIGEST.match(blob) for blob in blobs):
        raise BoardError("bad-request", "blobs is not a list of digests")
    return {"missing": missing_blobs(call.board, blobs)}


def activate(call: Call) -> Dict[str, Any]:
    request, board = call.request, call.board
    digest, manifest = digest_of(request, "release"), request.get("manifest")
    if not isinstance(manifest, str) or not isinstance(request.get("board"), str):
        raise BoardError("bad-request", "activate needs a board and a manifest")
    files = parse_manifest(manifest, digest)
    number(request, "deadline", DEADLINE_S), number(request, "confirm_timeout", CONFIRM_TIMEOUT_S)
    with call.lock("activate"):
        activation = call.activation
        activation.recover()
        receive_release(call, digest, manifest, files)
        activation.service(digest).check()
        answer = prove_again(activation, digest, request) or activation.try_release(
            digest, before(activation), request
        )
        return dict(answer, current=board.current, **evidence_terms(board, digest))


def receive_release(call: Call, digest: str, manifest: str, files: Mapping[str, FileRef]) -> None:
    """Take in the blobs that came along and stage the release; nothing that runs is touched."""
    board, request = call.board, call.request
    pending = Records(board).pending
    keep = {board.current, board.good, pending.get("release"), pending.get("previous"), digest}
    absent = set(missing_blobs(board, (ref.sha256 for ref in files.values())))
    sizes = {ref.sha256: ref.size for ref in files.values()}
    make_room(board, sum(sizes[blob] for blob in absent) + 4096 * len(files) + Records.BALLAST_BYTES, keep)
    adopt(board, unit_path(call, files), call.checkpoint)
    Records(board).prepare()
    bundle = request.get("bundle_bytes", 0)
    if isinstance(bundle, bool) or not isinstance(bundle, int) or bundle < 0:
        raise BoardError("bad-request", "bundle_bytes is not a size")
    if bundle:
        receive_blobs(board, call.stream, bundle, sizes)
    call.checkpoint("blobs-received")
    still_absent = missing_blobs(board, absent)
    if still_absent:
        raise BoardError("missing-blobs", "%d blobs of the release are not here" % len(still_absent))
    stage(board, digest, manifest, files, call.checkpoint)
    call.checkpoint("staged")


def unit_path(call: Call, files: Mapping[str, FileRef]) -> Optional[str]:
    """Where the unit of a release goes, whichever manager it asks for."""
    units = [os.path.basename(path) for path in files if path.startswith("unit/")]
    return os.path.join(call.unit_folder, units[0]) if units else None


def before(activation: Activation) -> Optional[str]:
    """The release to go back to: the one before a release on probation, else the current one."""
    pending = activation.records.pending
    return pending.get("previous") if pending else activation.board.current


def prove_again(activation: Activation, digest: str, request: Json) -> Optional[Dict[str, Any]]:
    """The answer for a release that is current, good and loaded already; None for any other."""
    board = activation.board
    if (
        activation.records.pending
        or board.current != digest
        or board.good != digest
        or not activation.serves(digest)
    ):
        return None
    receipt = activation.prove(
        digest, None, request, time.monotonic() + number(request, "deadline", DEADLINE_S)
    )
    receipt["state"] = "confirmed"
    activation.records.keep(receipt)
    return {"state": "unchanged", "receipt": receipt}


def evidence_terms(board: Board, digest: str) -> Dict[str, Any]:
    """What a receipt is judged by, as this board has it."""
    return {
        "contract": board.config(digest, "model/contract.json"),
        "smoke": board.config(digest, "config/smoke.json"),
    }


def confirm(call: Call) -> Dict[str, Any]:
    digest = digest_of(call.request, "release")
    with call.lock("confirm"):
        activation = call.activation
        activation.recover()
        return activation.confirm(digest)


def revert(call: Call) -> Dict[str, Any]:
    """Raises `revert-failed` where the board does not serve what it went back to."""
    to, reason = call.request.get("to"), call.request.get("reason")
    if to is not None:
        to = digest_of(call.request, "to")
    said = reason[:500] if isinstance(reason, str) else "asked to"
    with call.lock("revert"):
        answer = go_back(call.activation, to, said)
    if answer["state"] != "reverted":
        raise BoardError("revert-failed", "; ".join(answer["receipt"]["reasons"]))
    return answer


def go_back(activation: Activation, to: Optional[str], reason: str) -> Dict[str, Any]:
    """End what is on probation; where nothing is, go to `to`, or to what was confirmed before."""
    recovered = activation.recover()
    board, pending = activation.board, activation.records.pending
    if pending and to in (None, pending.get("previous")):
        return activation.revert(activation.receipt_of_lapsed(pending, reason))
    if recovered in ("reverted", "revert_failed") and to in (None, board.current):
        return {"state": recovered, "current": board.current, "receipt": activation.records.receipt}
    return go_back_to(activation, to or last_before(activation), reason)


def last_before(activation: Activation) -> str:
    """The release that was confirmed before the current one and still lies here.

    Raises:
        BoardError: `nothing-before`.
    """
    current = activation.board.current
    for receipt in reversed(activation.records.history(1 << 30)):
        digest = receipt.get("release")
        is_other = isinstance(digest, str) and DIGEST.match(digest) and digest != current
        if is_other and receipt.get("state") == "confirmed" and activation.board.has_release(digest):
            return str(digest)
    raise BoardError("nothing-before", "this board holds no release from before the current one")


def go_back_to(activation: Activation, digest: str, reason: str) -> Dict[str, Any]:
    """Swap to an older release that lies here; it is tried and proved like a new one, and then kept.

    Raises:
        BoardError: `unknown-release`, or `damaged-release`.
    """
    board, current = activation.board, activation.board.current
    if not board.has_release(digest):
        raise BoardError("unknown-release", "release %s is no longer on this board" % digest[:12])
    if altered_files(board, digest):
        raise BoardError("damaged-release", "release %s was altered on this board" % digest[:12])
    order = {
        "board": board.config(digest, "config/serve.json").get("board"),
        "commit": commit_of(activation, digest),
    }
    answer = activation.try_release(digest, before(activation), order)
    if answer["state"] != "pending":
        return dict(answer, state="revert_failed")
    activation.confirm(digest)
    receipt = dict(activation.records.receipt or {}, reasons=[reason], left=current)
    activation.records.keep(receipt)
    return {"state": "reverted", "current": board.current, "receipt": receipt}


def commit_of(activation: Activation, digest: str) -> Optional[str]:
    commits = [r.get("commit") for r in activation.records.history(1 << 30) if r.get("release") == digest]
    return commits[-1] if commits else None


def probe(call: Call) -> Dict[str, Any]:
    current = call.board.current
    if current is None:
        raise BoardError("nothing-active", "this board has no release")
    activation = call.activation
    order = {"commit": commit_of(activation, current)}
    receipt = activation.prove(
        current, None, order, time.monotonic() + number(call.request, "deadline", 60.0)
    )
    receipt["state"] = "confirmed" if call.board.good == current else "pending"
    return dict(receipt=receipt, **evidence_terms(call.board, current))


def logs(call: Call) -> Dict[str, Any]:
    current = call.board.current or Records(call.board).pending.get("release")
    lines = int(min(number(call.request, "lines", 100.0), 10000))
    if not current:
        return {"lines": tail(call.board.in_state("serve.log"), lines)}
    return {"lines": service_of(call.board, current, call.unit_folder).log_tail(lines)}


def history(call: Call) -> Dict[str, Any]:
    return {"receipts": Records(call.board).history(int(number(call.request, "last", 20.0)))}


def recover(call: Call) -> Dict[str, Any]:
    if call.before_start:
        return settle_before_start(call)
    with call.lock("recover"):
        activation = call.activation
        state = activation.recover()
        current = call.board.current
        if current and not activation.serves(current):
            activation.start(current, time.monotonic() + number(call.request, "deadline", 60.0))
        return {"state": state, "current": current}


def settle_before_start(call: Call) -> Dict[str, Any]:
    """As `ExecStartPre` of the service: whoever holds the lock is starting it, and knows what it does."""
    try:
        with locked(call.board, "recover", 0.0):
            state = call.activation.settle_link()
    except BoardError as error:
        if error.code != "busy":
            raise
        state = "busy"
    return {"state": state, "current": call.board.current}


VERBS: Dict[str, Callable[[Call], Dict[str, Any]]] = {
    "observe": observe,
    "missing": missing,
    "activate": activate,
    "confirm": confirm,
    "revert": revert,
    "probe": probe,
    "logs": logs,
    "history": history,
    "recover": recover,
}


def read_request(stream: BinaryIO) -> Dict[str, Any]:
    line = stream.readline(REQUEST_LIMIT)
    try:
        request = json.loads(line.decode("utf-8")) if line.strip() else {}
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise BoardError("bad-request", "the request is not one line of JSON")
    return request


def answer_verb(verb: str, call: Callable[[], Call]) -> Dict[str, Any]:
    """The reply to a verb; whatever goes wrong becomes a reply too."""
    try:
        return dict(VERBS[verb](call()), ok=True)
    except BoardError as error:
        return {"ok": False, "code": error.code, "error": str(error)}
    except OSError as error:
        traceback.print_exc()
        code = (
            "no-space" if is_full(error) else "no-permission" if isinstance(error, PermissionError) else "io"
        )
        return {"ok": False, "code": code, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - the boundary of this program
        traceback.print_exc()
        return {"ok": False, "code": "internal", "error": "%s: %s" % (type(error).__name__, error)}


def no_checkpoint(_: str) -> None:
    """Tests stop the program at its named steps; nobody else does."""


def main(
    argv: Sequence[str],
    stream: Optional[BinaryIO] = None,
    checkpoint: Checkpoint = no_checkpoint,
    unit_folder: str = "/etc/systemd/system",
) -> int:
    """Answer one verb; see the module."""
    parser = argparse.ArgumentParser(prog="activate.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("verb", choices=sorted(VERBS))
    parser.add_argument("--root", required=True)
    parser.add_argument(
        "--before-start", action="store_true", help="recover: only see that `current` is safe to start"
    )
    chosen = parser.parse_args(argv)
    source = stream or sys.stdin.buffer

    def call() -> Call:
        request = read_request(source)
        return Call(Board(chosen.root), request, source, checkpoint, unit_folder, chosen.before_start)

    reply = answer_verb(chosen.verb, call)
    sys.stdout.write(json.dumps(reply, sort_keys=True) + "\n")
    sys.stdout.flush()
    return 0 if reply["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
