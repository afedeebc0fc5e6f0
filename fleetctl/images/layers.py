"""Layers of module images, as tars that are functions of their files: the same files give the same bytes."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

from fleetctl.artifact import BlobRef
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore, sha256

_EPOCH = 0  # of every file: when it was written is nobody's business
_LEVEL = 6


class Layer(Struct, frozen=True):
    """A packed layer in a store, and the digest of what is in it when it is unpacked."""

    ref: BlobRef
    diff_id: str  # sha256, without its prefix


def packed(tar: bytes, store: BlobStore) -> Layer:
    """The tar, compressed, in the store."""
    data = gzip.compress(tar, _LEVEL, mtime=_EPOCH)
    return Layer(BlobRef(store.put(data), len(data)), sha256(tar))


def carried(files: Mapping[str, bytes], folder: str) -> bytes:
    """A tar of files below `folder`, parents first, everything read-only and root's."""
    stream = io.BytesIO()
    with _tar(stream) as tar:
        _add_files(tar, {f"{folder}/{path}": data for path, data in files.items()})
    return stream.getvalue()


def environment(
    wheels: Iterable[Path], *, python: str, venv: str, version: tuple[int, int], owned: Mapping[str, int]
) -> bytes:
    """A tar with a virtual environment of unpacked wheels, and folders that belong to somebody.

    Nothing of it is run here, so it can be for any processor.

    Args:
        python: the base's interpreter, an absolute path.
        venv: where the environment is, an absolute path.
        version: of that Python, which the wheels are for.
        owned: folders by path, with the number of their user and group.

    Raises:
        BuildError: a wheel would write outside of its place.
    """
    site = f"{venv}/lib/python{version[0]}.{version[1]}/site-packages".lstrip("/")
    files = {f"{site}/{path}": data for wheel in wheels for path, data in _unpacked(wheel)}
    home = python.rpartition("/")[0]
    files[f"{venv}/pyvenv.cfg".lstrip("/")] = (
        f"home = {home}\ninclude-system-site-packages = false\nversion = {version[0]}.{version[1]}\n"
    ).encode()
    stream = io.BytesIO()
    with _tar(stream) as tar:
        _add_files(tar, files)
        _add_folder(tar, f"{venv}/bin".lstrip("/"))
        link = tarfile.TarInfo(f"{venv}/bin/python".lstrip("/"))
        link.type, link.linkname, link.mode, link.mtime = tarfile.SYMTYPE, python, 0o777, _EPOCH
        tar.addfile(link)
        for path, owner in sorted(owned.items()):
            _add_folder(tar, path.lstrip("/"), owner)
    return stream.getvalue()


def _unpacked(wheel: Path) -> Iterable[tuple[str, bytes]]:
    """The files of a wheel by their path in `site-packages`; scripts and headers are nobody's need."""
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.is_dir() or (path := _place(info.filename)) is None:
                continue
            if path.startswith("/") or ".." in path.split("/"):
                raise BuildError(f"{wheel.name} would write to {path!r}")
            yield path, archive.read(info)


def _place(name: str) -> str | None:
    head, _, rest = name.partition("/")
    if not head.endswith(".data"):
        return name
    scheme, _, path = rest.partition("/")
    return path if scheme in ("purelib", "platlib") else None


def _tar(stream: io.BytesIO) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)


def _add_files(tar: tarfile.TarFile, files: Mapping[str, bytes]) -> None:
    for parent in sorted({parent for path in files for parent in _parents(path)}):
        _add_folder(tar, parent)
    for path, data in sorted(files.items()):
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode, entry.mtime = len(data), 0o444, _EPOCH
        tar.addfile(entry, io.BytesIO(data))


def _add_folder(tar: tarfile.TarFile, path: str, owner: int = 0) -> None:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.mtime, entry.uid, entry.gid = tarfile.DIRTYPE, 0o755, _EPOCH, owner, owner
    tar.addfile(entry)


def _parents(path: str) -> list[str]:
    steps = path.split("/")[:-1]
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]
