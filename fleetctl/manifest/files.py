"""The files a manifest is made of: read within bounds, decoded, and gathered in the order of includes."""

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, field

from fleetctl.errors import ManifestError, Problem
from fleetctl.leftovers import is_no_manifest
from fleetctl.manifest.complaints import INVALID, Complaint, as_problems
from fleetctl.manifest.compounds import Entry, Record
from fleetctl.manifest.document import FLEET, PART
from fleetctl.manifest.kinds import Complaints
from fleetctl.manifest.layers import find
from fleetctl.manifest.membership import is_glob
from fleetctl.manifest.remembered import Sources, framed, matches
from fleetctl.manifest.tree import Items, Node, parse

MAX_BYTES = 32 * 2**20  # of all files together: 100,000 boards at 335 bytes each
MAX_FILES = 10_000

_SECTIONS = ("models", "groups", "boards")


class Manifest(Struct):
    """What the files say, before references are followed and layers merged."""

    path: Path
    fleet: dict[str, Any] = field(default_factory=dict)  # the decoded fleet.yaml
    models: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, Entry] = field(default_factory=dict)
    boards: dict[str, Entry] = field(default_factory=dict)
    roots: list[Node] = field(default_factory=list)  # of every file, fleet.yaml first
    complaints: Complaints = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)  # of files that have no tree
    has_broken_section: bool = (
        False  # a file, or its `models`, `groups` or `boards`, that is not even a mapping
    )
    sources: Sources = field(default_factory=Sources)
    digest: str = ""

    @property
    def is_whole(self) -> bool:
        """True where all names are known: only then is one that is nowhere a mistake."""
        return not self.problems and not self.has_broken_section

    def all_problems(self) -> list[Problem]:
        """Everything wrong so far, each with its place."""
        return sorted([*self.problems, *as_problems(self.complaints, self.roots)])


class _File(NamedTuple):
    """A file to read, as it is shown, and the real paths of the files whose includes led here."""

    path: Path
    chain: tuple[Path, ...]


def read(path: Path) -> Manifest:
    """Read fleet.yaml and all it includes. Never raises for what is in them: see `Manifest.all_problems`."""
    return _Reader(path).read()


class _Reader:
    def __init__(self, path: Path) -> None:
        self.manifest = Manifest(path)
        self.inventory = _real(path.absolute().parent)
        self.seen: set[Path] = set()
        self.budget = MAX_BYTES
        self.hash = hashlib.sha256()

    def read(self) -> Manifest:
        todo = [_File(self.manifest.path, ())]
        while todo:
            file = todo.pop()
            real = _real(file.path)
            if real in self.seen:
                continue
            self.seen.add(real)
            try:
                included = list(self._read_file(file, real))
            except ManifestError as error:
                self.manifest.problems += error.problems
            else:
                todo += reversed(included)
        self.manifest.digest = self.hash.hexdigest()
        return self.manifest

    def _read_file(self, file: _File, real: Path) -> Iterator[_File]:
        data = read_bounded(file.path, self.budget)
        self.budget -= len(data)
        self.hash.update(framed(data))
        self.manifest.sources.files.append((str(file.path.absolute()), str(real)))
        root = parse(data, str(file.path))
        is_fleet = not self.manifest.roots
        self.manifest.roots.append(root)
        values = self._decode(FLEET if is_fleet else PART, root)
        if is_fleet:
            self.manifest.fleet = values
        self._gather(values)
        included = values.get("include")
        for index, pattern in enumerate(included if isinstance(included, tuple) else ()):
            if isinstance(pattern, str):
                yield from self._included(_item(root, index), pattern, file.path.parent, (*file.chain, real))

    def _decode(self, record: Record, root: Node) -> dict[str, Any]:
        values = record.decode(root, self.manifest.complaints)
        if isinstance(values, dict):
            return values
        self.manifest.has_broken_section = True
        return {}

    def _gather(self, values: dict[str, Any]) -> None:
        for section in _SECTIONS:
            known: dict[str, Entry] = getattr(self.manifest, section)
            entries = values.get(section, {})
            if entries is INVALID:
                self.manifest.has_broken_section = True
                continue
            for name, entry in entries.items():
                if (first := known.get(name)) is not None:
                    where = f"first in {first.key.mark.name}:{first.key.mark.line + 1}"
                    self.manifest.complaints.append(Complaint(entry.key, "is defined twice", where))
                else:
                    known[name] = entry

    def _included(self, node: Node, pattern: str, folder: Path, chain: tuple[Path, ...]) -> Iterator[_File]:
        for path in self._matches(node, pattern, folder):
            real = _real(path)
            if not real.is_relative_to(self.inventory):
                self._complain(
                    node, f"`{path}` lies outside the inventory folder", "includes stay beside fleet.yaml"
                )
            elif real in chain:
                self._complain(node, f"`{path}` includes itself{_through(chain, real)}", "")
            elif is_no_manifest(path.name) or is_no_manifest(real.name):
                self._complain(
                    node,
                    f"`{path}` is called like a photo, a table or a backup, which git need not have",
                    "call it something that ends in .yaml",
                )
            elif _is_missing(path):
                self._complain(node, f"there is no file `{path}`", "")
            elif path.is_dir():
                self._complain(
                    node, f"`{path}` is a folder", f"include its files, such as `{pattern}/*.yaml`"
                )
            elif len(self.seen) >= MAX_FILES:
                self._complain(node, f"more than {MAX_FILES:,} files", "put several boards into a file")
                return
            else:
                yield _File(path, chain)

    def _matches(self, node: Node, pattern: str, folder: Path) -> list[Path]:
        if not is_glob(pattern):
            return [folder / pattern]
        try:
            found = matches(folder, pattern)
        except ValueError as error:
            self._complain(node, f"`{pattern}` is not a glob", str(error))
            return []
        except OSError as error:
            self._complain(node, f"`{error.filename}` cannot be read: {error.strerror}", "")
            return []
        if not found:
            self._complain(node, f"no file is called like `{folder / pattern}`", "")
        where = folder.absolute()
        self.manifest.sources.globs.append((str(where), pattern, [str(path.absolute()) for path in found]))
        return found

    def _complain(self, node: Node, what: str, hint: str) -> None:
        self.manifest.complaints.append(Complaint(node, what, hint))


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle: reading the file says so
        return path.absolute()


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:  # there, in some way: reading the file says what is wrong with it
        return False
    return False


def _through(chain: tuple[Path, ...], real: Path) -> str:
    between = [path.name for path in chain[chain.index(real) + 1 :]]
    return f" through {', '.join(between)}" if between else ""


def _item(root: Node, index: int) -> Node:
    pair = find(root, ("include",))
    return pair[1].items[index] if pair and isinstance(pair[1], Items) else root


def read_bounded(path: Path, budget: int) -> bytes:
    """The bytes of a regular file, at most `budget` of them.

    Raises:
        ManifestError: there is no such file, it is something else than a file, it may not be read, or it is
            larger than `budget`.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            inside = [path / "fleet.yaml", path / "inventory" / "fleet.yaml"]
            meant = next((f"did you mean {file}?" for file in inside if file.exists()), "")
            raise _refusal(path, "is a folder, not a file", meant)
        if not stat.S_ISREG(status.st_mode):
            raise _refusal(path, "is not a regular file")
        if status.st_size > budget:
            raise _too_large(path, status.st_size)
        with path.open("rb") as stream:
            data = stream.read(budget + 1)
    except FileNotFoundError:
        raise _refusal(path, "there is no such file", _where_else(path)) from None
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from None
    if len(data) > budget:  # it grew since
        raise _too_large(path, len(data))
    return data


def demand_manifest(path: Path) -> None:
    """For who finds nothing and never reads the manifest: perhaps it is looked for in a wrong folder.

    Raises:
        ManifestError: there is none here; names one that lies above.
    """
    if _is_missing(path):
        raise _refusal(path, "there is no such file", _where_else(path))


def _where_else(path: Path) -> str:
    """What to do about a manifest that is not there: who stands within a fleet's folder wants that one."""
    above = (folder / path for folder in Path.cwd().parents)
    if not path.is_absolute() and (found := next((file for file in above if file.is_file()), None)):
        return f"there is one above: `-f {shlex.quote(os.path.relpath(found))}` names it"
    return "`fleetctl init` writes one, -f names another"


def _too_large(path: Path, size: int) -> ManifestError:
    what = f"is {size / 1e6:.1f} MB; all files of a manifest may be {MAX_BYTES // 2**20} MiB together"
    return _refusal(path, what, "give settings to groups instead of each board")


def _refusal(path: Path, what: str, hint: str = "") -> ManifestError:
    return ManifestError([Problem(str(path), 0, 0, "", what, hint)])
