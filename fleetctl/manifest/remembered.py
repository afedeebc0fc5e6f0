"""A manifest that was found valid is not read anew: what was said of it is kept, and told while it holds.

It holds for the very bytes of every file, for includes that still find these files, and for the code that
judged them. Nothing that changes a board looks here: a rollout always reads the manifest. Where anything is
other than it was, damaged or absent, nothing is remembered, and the manifest is read in full.
"""

import hashlib
import json
import os
import sys

TYPE_CHECKING = False  # `typing` and `pathlib` are half of what an answer may cost
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

# Kinds of what is said: that it is valid, the fleet itself, and what is rendered for it.
VALID, FLEET, RELEASES = "valid", "fleet", "releases"
PACKAGE = os.path.dirname(os.path.dirname(__file__))
_KIND, _ORDINARY = 0o170000, 0o100000  # of files, as `stat` has them, which is dear to import
_IGNORED = b".fleetctl/"  # the line that `init` writes into .gitignore
_JUDGES = ("", "cli", "compatibility", "manifest")  # folders of the package that a verdict depends on


class Sources:
    """What a manifest was read from: files in order, and the files that each pattern of an include found."""

    def __init__(self) -> None:
        self.files: list[tuple[str, str]] = []  # where it was looked for, and the real path
        self.globs: list[tuple[str, str, list[str]]] = []  # folder, pattern, what it found


def matches(folder: "Path", pattern: str) -> "list[Path]":
    """The files that an include's pattern finds, in order.

    Raises:
        ValueError: it is no pattern.
        OSError: a folder that it looks into cannot be listed; names it.
    """
    from fleetctl.leftovers import is_no_manifest

    found = [path for path in folder.glob(pattern) if not _is_hidden(path.relative_to(folder))]
    _demand_listable(folder, pattern.split("/"))
    return sorted(path for path in found if not is_no_manifest(path.name))


def _demand_listable(folder: "Path", parts: "Sequence[str]") -> None:
    # `glob` takes a folder that may not be listed for an empty one: its boards would leave the fleet unseen.
    from glob import has_magic

    for count, part in enumerate(parts):
        if not has_magic(part):
            continue
        for place in folder.glob("/".join(parts[:count])) if count else [folder]:
            if place.is_dir() and not _is_hidden(place.relative_to(folder)):
                _list(place, deep=part == "**")


def _list(folder: "Path", *, deep: bool) -> None:
    with os.scandir(folder) as entries:
        inside = [entry.name for entry in entries if deep and entry.is_dir(follow_symlinks=False)]
    for name in inside:
        if not name.startswith("."):
            _list(folder / name, deep=True)


def _is_hidden(path: "Path") -> bool:
    # Editors keep locks and backups such as `.#luxor.yaml` beside the file.
    return any(part.startswith(".") and part != ".." for part in path.parts)


def framed(data: bytes) -> bytes:
    """A file as it enters the manifest's digest: with its length, or two lists of files could look alike."""
    return b"%d\n" % len(data) + data


def recall(manifest: str, what: str) -> str | None:
    """What was said of the file `manifest` when it was found valid, if that still holds: of which kind."""
    try:
        reasons, said = _kept(manifest, what)
        return said.decode() if _hold(json.loads(reasons), manifest) else None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def recall_made(manifest: str, what: str, key: str) -> str | None:
    """What was made for the fleet of the file `manifest`, if of the very things that `key` stands for."""
    try:
        reasons, said = _kept(manifest, what)
        return said.decode() if reasons == key.encode() else None
    except (OSError, ValueError):
        return None


def _kept(manifest: str, what: str) -> tuple[bytes, bytes]:
    """Why something was said, and what, whole as it was written; raises where there is no such thing."""
    if os.environ.get("CI"):  # there the folder comes from whoever proposes the change
        raise ValueError(what)
    head, _, body = _read(_place(manifest, what)).partition(b"\n")
    if head.decode() != hashlib.sha256(body).hexdigest():
        raise ValueError(what)
    reasons, _, said = body.partition(b"\n")
    return reasons, said


def _hold(reasons: "dict[str, Any]", manifest: str) -> bool:
    """Whether what was said was said of these files, by this code."""
    return (
        reasons["judge"] == judge_of(_JUDGES)
        and reasons["manifest"] == os.path.abspath(manifest)
        and reasons["digest"] == _digest(reasons["files"])
        and all(found == _found(folder, pattern) for folder, pattern, found in reasons["globs"])
    )


def remember(manifest: str, what: str, sources: Sources, digest: str, said: str) -> None:
    """Keep what is said of a valid manifest, where git leaves the folder for such things alone."""
    reasons = {
        "judge": judge_of(_JUDGES),
        "manifest": os.path.abspath(manifest),
        "files": sources.files,
        "globs": sources.globs,
        "digest": digest,
    }
    _keep(manifest, what, json.dumps(reasons), said)


def remember_made(manifest: str, what: str, key: str, said: str) -> None:
    """Keep what was made for the fleet of the file `manifest`, for `recall_made`."""
    _keep(manifest, what, key, said)


def _keep(manifest: str, what: str, reasons: str, said: str) -> None:
    from pathlib import Path

    from fleetctl.errors import WriteError
    from fleetctl.store import atomic_write

    place = _place(manifest, what)
    if os.environ.get("CI") or not _may_keep(os.path.dirname(place)):
        return
    body = reasons.encode() + b"\n" + said.encode()
    try:
        atomic_write(Path(place), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    except WriteError:
        return  # a folder one may only read, or a full disk: nothing is lost


def _place(manifest: str, what: str) -> str:
    root = os.path.dirname(os.path.dirname(os.path.abspath(manifest)))
    return os.path.join(root, ".fleetctl", f"{what}.known")


def _may_keep(folder: str) -> bool:
    if os.path.isdir(folder):
        return True
    try:
        return _IGNORED in _read(os.path.join(os.path.dirname(folder), ".gitignore")).splitlines()
    except OSError:
        return False


def _read(path: str) -> bytes:
    """The bytes of an ordinary file: a pipe would be waited for."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if os.fstat(stream.fileno()).st_mode & _KIND != _ORDINARY:
            raise OSError(path)
        return stream.read()


def _digest(files: "Sequence[tuple[str, str]]") -> str:
    """The manifest's digest, if each file still lies where it did, whatever links lead there."""
    digest = hashlib.sha256()
    for path, real in files:
        if os.path.realpath(path) != real:
            raise ValueError(path)
        digest.update(framed(_read(path)))
    return digest.hexdigest()


def _found(folder: str, pattern: str) -> list[str]:
    from pathlib import Path

    return [str(path) for path in matches(Path(folder), pattern)]


def judge_of(folders: "Sequence[str]") -> str:
    """Which code says something: ours by size and time, in `folders`, Python's, and installed packages."""
    seen: list[object] = [sys.version]
    seen += sorted(entry for folder in folders for entry in _entries(os.path.join(PACKAGE, folder)))
    seen += [os.stat(place).st_mtime_ns for place in sys.path if place.endswith("-packages")]
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _entries(folder: str) -> "Iterator[tuple[str, int, int]]":
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                status = entry.stat()
                yield entry.path, status.st_size, status.st_mtime_ns
