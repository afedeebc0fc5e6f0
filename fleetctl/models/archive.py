"""Datasets fetched over https: resumable, checked by sha256 before they are opened, unpacked with care.

An archive comes from a stranger: nothing in it may lie outside its folder, be anything but a plain file, or
unpack to more than a disk can bear.
"""

import http.client
import lzma
import shutil
import ssl
import stat
import struct
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from msgspec import Struct

from fleetctl.errors import BuildError
from fleetctl.models.progress import Progress
from fleetctl.store import is_out_of_space, naming, sha256_file, unwritable

_CHUNK = 1 << 18
# What an archive that is damaged, or no archive, raises while it is read.
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    MemoryError,
    ValueError,
    LookupError,
    ArithmeticError,
    struct.error,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
)


class Limits(Struct, frozen=True):
    """The most an archive may hold. Sizes are bytes."""

    download: int = 4 << 30
    members: int = 200_000
    unpacked: int = 8 << 30


USUAL = Limits()


def fetch(
    url: str,
    sha256: str,
    *,
    cache: Path,
    progress: Progress,
    limits: Limits = USUAL,
    trust: ssl.SSLContext | None = None,
) -> Path:
    """The unpacked folder of an archive, downloaded only if the cache has none.

    A download that breaks off is taken up where it stopped the next time.

    Args:
        trust: who may sign the server's certificate; the system's authorities by default.

    Raises:
        BuildError: not https, unreachable, other bytes than `sha256` says, or an archive not fit to open.
        WriteError: the disk is full; what was downloaded stays, and the next try continues.
    """
    folder = cache / "archives" / sha256
    if folder.is_dir():
        return folder
    archive = _download(url, sha256, cache / "downloads", progress, limits, trust)
    unpack(archive, folder, progress=progress, limits=limits)
    archive.unlink()
    return folder


def unpack(archive: Path, folder: Path, *, progress: Progress, limits: Limits = USUAL) -> None:
    """Unpack a zip or tar into `folder`, which appears whole or not at all.

    Raises:
        BuildError: neither zip nor tar, damaged, over the limits, or with a member that is not a plain file
            inside the folder.
    """
    with naming(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name[:12]}.", dir=folder.parent))
    try:
        _unpack_into(archive, aside, progress, limits)
        aside.chmod(0o755)
        aside.rename(folder)
    except _DAMAGED as exc:
        if isinstance(exc, OSError) and is_out_of_space(exc):
            raise unwritable(folder, exc) from None
        raise BuildError(f"{archive.name} cannot be unpacked: {str(exc) or type(exc).__name__}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # type: ignore[no-untyped-def]
        self, req, fp, code, msg, headers, newurl
    ) -> urllib.request.Request | None:
        _demand_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _demand_https(url: str) -> None:
    if not url.lower().startswith("https://"):
        raise BuildError(f"{url} is not an https address", hint="archives are fetched over https only")


def _download(
    url: str, sha256: str, folder: Path, progress: Progress, limits: Limits, trust: ssl.SSLContext | None
) -> Path:
    _demand_https(url)
    part = folder / f"{sha256}.part"
    with naming(part):
        folder.mkdir(parents=True, exist_ok=True)
    resumed = _try_download(url, part, progress, limits, trust)
    found = sha256_file(part)
    if resumed and found != sha256:
        # What lay here may be what is wrong, of a power cut say: on that nobody is accused.
        part.unlink()
        _try_download(url, part, progress, limits, trust)
        found = sha256_file(part)
    if found != sha256:
        part.unlink()
        raise BuildError(
            f"{url} has sha256 {found[:12]}..., not {sha256[:12]}... as the manifest says",
            hint="somebody changed the archive, or the manifest names another one; nothing of it was opened",
        )
    return part


def _try_download(
    url: str, part: Path, progress: Progress, limits: Limits, trust: ssl.SSLContext | None
) -> bool:
    """As `_continue_download`; raises `BuildError` of whatever went wrong on the way."""
    try:
        return _continue_download(url, part, progress, limits, trust)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise BuildError(f"{url} answers {exc.code} {exc.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as exc:  # the last of an address that is none
        if isinstance(exc, OSError) and is_out_of_space(exc):
            raise unwritable(part, exc) from None
        reason = getattr(exc, "reason", exc)
        raise BuildError(f"{url} cannot be downloaded: {reason}", hint="run again: it continues") from None


def _continue_download(
    url: str, part: Path, progress: Progress, limits: Limits, trust: ssl.SSLContext | None
) -> bool:
    """Fetch what `part` lacks; returns whether what it held before is still in it."""
    have = part.stat().st_size if part.exists() else 0
    # What else than https was asked for is refused by the opener below.
    request = urllib.request.Request(url, headers={"User-Agent": "fleetctl"})  # noqa: S310
    if have:
        request.add_header("Range", f"bytes={have}-")
    opener = urllib.request.build_opener(
        _HttpsOnly, urllib.request.HTTPSHandler(context=trust or ssl.create_default_context())
    )
    try:
        reply = opener.open(request, timeout=60)
    except urllib.error.HTTPError as exc:
        if have and exc.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            exc.close()
            return True  # all of it is here already; the digest decides
        raise
    with reply:
        resumed = bool(have) and reply.status == http.HTTPStatus.PARTIAL_CONTENT
        done = have if resumed else 0
        total = done + (reply.length or 0)  # 0: it does not say
        with part.open("ab" if resumed else "wb") as stream:
            while chunk := reply.read(_CHUNK):
                done += len(chunk)
                if done > limits.download:
                    raise BuildError(f"{url} is larger than {limits.download} bytes")
                stream.write(chunk)
                progress("download", done, total)
    if done < total:
        raise OSError(f"the connection broke off after {done} of {total} bytes")
    return resumed


class _Member(Struct, frozen=True):
    name: str
    stream: IO[bytes]


def _unpack_into(archive: Path, folder: Path, progress: Progress, limits: Limits) -> None:
    members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
    left = limits.unpacked
    for count, member in enumerate(members, start=1):
        if count > limits.members:
            raise BuildError(f"{archive.name} holds more than {limits.members} files")
        target = folder / _inside(member.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as out:  # a name that comes twice is an attack or a mistake
            while chunk := member.stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise BuildError(f"{archive.name} unpacks to more than {limits.unpacked} bytes")
                out.write(chunk)
        progress("unpack", count, 0)


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0] or "\0" in name:
        raise BuildError(f"the archive's member {name!r} would lie outside its folder")
    return path


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise BuildError(f"the archive's member {info.filename!r} is not a plain file")
            with opened.open(info) as stream:
                yield _Member(info.filename, stream)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                continue
            stream = opened.extractfile(info) if info.isreg() else None
            if stream is None:
                raise BuildError(f"the archive's member {info.name!r} is not a plain file")
            with stream:
                yield _Member(info.name, stream)
