"""Build contexts as deterministic tars: the same files give the same bytes, and so the same layers."""

import io
import tarfile
from collections.abc import Mapping

_EPOCH = 0  # of every file: when it was written is nobody's business


def layer(files: Mapping[str, bytes], folder: str) -> bytes:
    """A tar of files below `folder`, parents first, everything read-only and root's."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for parent in sorted({parent for path in files for parent in _parents(f"{folder}/{path}")}):
            entry = tarfile.TarInfo(parent)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, _EPOCH
            tar.addfile(entry)
        for path, data in sorted(files.items()):
            _add(tar, f"{folder}/{path}", data)
    return stream.getvalue()


def context(dockerfile: str, files: Mapping[str, bytes]) -> io.BytesIO:
    """What an engine builds from."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted({**files, "Dockerfile": dockerfile.encode()}.items()):
            _add(tar, name, data)
    stream.seek(0)
    return stream


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o444, _EPOCH
    tar.addfile(entry, io.BytesIO(data))


def _parents(path: str) -> list[str]:
    steps = path.split("/")[:-1]
    return ["/".join(steps[: count + 1]) for count in range(len(steps))]
