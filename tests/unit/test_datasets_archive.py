"""Archives from strangers: fetched whole or not at all, and nothing in them leaves its folder."""

import datetime
import io
import ipaddress
import random
import ssl
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import ArchiveDataset
from fleetctl.models import datasets
from fleetctl.models.archive import Limits, fetch, unpack
from fleetctl.models.progress import silent
from fleetctl.store import sha256

Members = list[tuple[str, bytes]]
HARMLESS: Members = [("photos/1_G17.png", b"one"), ("photos/2_N35.png", b"two" * 1000)]


def make_zip(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


makers = pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])


def opened(archive: Path, *, limits: Limits | None = None) -> Path:
    folder = archive.parent / "out" / "unpacked"
    unpack(archive, folder, progress=silent, limits=limits or Limits())
    return folder


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@makers
def test_a_harmless_archive_is_unpacked(make: Callable[[Path, Members], Path], tmp_path: Path) -> None:
    """Both kinds of archive give their files with their bytes."""
    folder = opened(make(tmp_path / "a", HARMLESS))

    assert {name: (folder / name).read_bytes() for name, _ in HARMLESS} == dict(HARMLESS)


@makers
@pytest.mark.parametrize(
    "name", ["../escaped.png", "a/../../escaped.png", "/escaped.png", "..\\escaped.png", "C:\\escaped.png"]
)
def test_a_member_outside_is_refused(
    make: Callable[[Path, Members], Path], name: str, tmp_path: Path
) -> None:
    """No name leads out of the folder, in either system's spelling, and nothing of the archive stays."""
    archive = make(tmp_path / "a", [*HARMLESS, (name, b"evil")])

    with pytest.raises(BuildError, match="outside its folder"):
        opened(archive)
    assert left_behind(tmp_path) == ["a", "out"]


def special(kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo("photos/3_G17.png")
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "info",
    [
        special(tarfile.SYMTYPE, "/etc/passwd"),
        special(tarfile.LNKTYPE, "photos/1_G17.png"),
        special(tarfile.CHRTYPE, ""),
        special(tarfile.FIFOTYPE, ""),
    ],
    ids=["symbolic link", "hard link", "device", "pipe"],
)
def test_anything_but_a_plain_file_in_a_tar_is_refused(info: tarfile.TarInfo, tmp_path: Path) -> None:
    """Links, devices and pipes have no place in a dataset."""
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)

    with pytest.raises(BuildError, match="not a plain file"):
        opened(tmp_path / "a.tar")


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    """Unix modes inside a zip are looked at too."""
    link = zipfile.ZipInfo("photos/3_G17.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")

    with pytest.raises(BuildError, match="not a plain file"):
        opened(tmp_path / "a.zip")


@makers
def test_a_bomb_is_stopped(make: Callable[[Path, Members], Path], tmp_path: Path) -> None:
    """What counts is the bytes that come out, not the size that the archive declares."""
    archive = make(tmp_path / "a", [("bomb.png", bytes(5_000_000))])
    assert archive.stat().st_size < 20_000

    with pytest.raises(BuildError, match="unpacks to more than 1000000 bytes"):
        opened(archive, limits=Limits(unpacked=1_000_000))
    assert left_behind(tmp_path) == ["a", "out"]


@makers
def test_too_many_members_are_refused(make: Callable[[Path, Members], Path], tmp_path: Path) -> None:
    """A million empty files are a bomb as well."""
    archive = make(tmp_path / "a", [(f"{number}.png", b"") for number in range(20)])

    with pytest.raises(BuildError, match="more than 10 files"):
        opened(archive, limits=Limits(members=10))


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    """The second of two members with one name would replace the first unseen."""
    archive = make_tar(tmp_path / "a", [("1_G17.png", b"one"), ("1_G17.png", b"two")])

    with pytest.raises(BuildError, match="cannot be unpacked"):
        opened(archive)


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 and then nothing"])
def test_what_is_no_archive_is_refused(data: bytes, tmp_path: Path) -> None:
    """Bytes that are neither zip nor tar end in one sentence."""
    (tmp_path / "a").write_bytes(data)

    with pytest.raises(BuildError, match="a cannot be unpacked"):
        opened(tmp_path / "a")


@makers
def test_a_damaged_archive_leaves_nothing(make: Callable[[Path, Members], Path], tmp_path: Path) -> None:
    """Half an archive does not become half a dataset."""
    archive = make(tmp_path / "a", [("1_G17.png", bytes(range(256)) * 50)])
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])

    with pytest.raises(BuildError, match="cannot be unpacked"):
        opened(archive)
    assert left_behind(tmp_path) == ["a", "out"]


def make_packed(path: Path, kind: str, data: bytes) -> Path:
    """A zip, or a tar, packed as `kind` says."""
    name, _, packed = kind.partition(" ")
    if name == "tar":
        with tarfile.open(path, f"w:{packed}") as archive:  # type: ignore[call-overload]
            info = tarfile.TarInfo("1_G17.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    else:
        methods = {"deflate": zipfile.ZIP_DEFLATED, "lzma": zipfile.ZIP_LZMA, "bz2": zipfile.ZIP_BZIP2}
        with zipfile.ZipFile(path, "w", methods[packed]) as zipped:
            zipped.writestr("1_G17.png", data)
    return path


@pytest.mark.parametrize("kind", ["zip deflate", "zip lzma", "zip bz2", "tar xz", "tar bz2"])
@pytest.mark.parametrize("place", [0.01, 0.02, 0.2, 0.5])
def test_altered_bytes_are_one_sentence(kind: str, place: float, tmp_path: Path) -> None:
    """However an archive is packed, and wherever it is damaged."""
    noise = random.Random(1).randbytes(5000) + bytes(9000)
    archive = make_packed(tmp_path / "a", kind, noise)
    data = bytearray(archive.read_bytes())
    start = 40 + int(place * len(data))
    data[start : start + 8] = (byte ^ 0xFF for byte in data[start : start + 8])
    archive.write_bytes(data)

    with pytest.raises(BuildError, match=r"a cannot be unpacked: \w"):
        opened(archive)
    assert left_behind(tmp_path) == ["a", "out"]


def test_a_name_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    """A zip says that its names are UTF-8, and one is not."""
    archive = make_zip(tmp_path / "a", [("\u00fc_G17.png", b"one")])
    archive.write_bytes(archive.read_bytes().replace("\u00fc".encode(), b"\xff\xff"))

    with pytest.raises(BuildError, match="a cannot be unpacked"):
        opened(archive)


@dataclass
class Shop:
    """What the loopback server serves, and how: `break_after` bytes the connection is cut, once."""

    data: bytes = b""
    ranges: bool = True
    break_after: int | None = None
    redirect: str = ""
    status: int = 200
    length: str = ""
    asked: list[str] = field(default_factory=list)
    url: str = ""
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An https server on loopback with a certificate of its own."""
    shop = Shop()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(shop))
    certificate = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    shop.trust = ssl.create_default_context(cafile=str(certificate))
    shop.url = f"https://127.0.0.1:{server.server_port}/glyphs.zip"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield shop
    server.shutdown()
    thread.join()
    server.server_close()


def _handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            shop.asked.append(wanted)
            if shop.redirect:
                self.send_response(302)
                self.send_header("Location", shop.redirect)
                self.end_headers()
                return
            if shop.status != 200:
                self.send_error(shop.status)
                return
            start = int(wanted[6:-1]) if wanted and shop.ranges else 0
            if start and start >= len(shop.data):
                self.send_error(416)
                return
            body = shop.data[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", shop.length or str(len(body)))
            self.end_headers()
            cut, shop.break_after = shop.break_after, None
            self.wfile.write(body[:cut])
            self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    return Handler


def _certificate(folder: Path) -> Path:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    path = folder / "loopback.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def fetched(shop: Shop, cache: Path, *, digest: str | None = None, limits: Limits | None = None) -> Path:
    return fetch(
        shop.url,
        digest or sha256(shop.data),
        cache=cache,
        progress=silent,
        limits=limits or Limits(),
        trust=shop.trust,
    )


def test_an_archive_is_fetched_once(shop: Shop, tmp_path: Path) -> None:
    """The second time the cache answers, without a word to the server."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()

    folders = [fetched(shop, tmp_path / "cache") for _ in range(2)]

    assert folders[0] == folders[1]
    assert (folders[0] / "photos/1_G17.png").read_bytes() == b"one"
    assert len(shop.asked) == 1


@pytest.mark.parametrize("ranges", [True, False], ids=["server resumes", "server starts over"])
def test_a_broken_download_is_continued(ranges: bool, shop: Shop, tmp_path: Path) -> None:
    """After a cut the next run asks for the rest, and takes the whole where the server knows no ranges."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()
    shop.break_after, shop.ranges = 100, ranges
    with pytest.raises(BuildError, match="broke off after 100 of"):
        fetched(shop, tmp_path / "cache")

    folder = fetched(shop, tmp_path / "cache")

    assert shop.asked == ["", "bytes=100-"]
    assert (folder / "photos/1_G17.png").read_bytes() == b"one"


def test_a_download_that_was_complete_is_used(shop: Shop, tmp_path: Path) -> None:
    """Killed between the last byte and unpacking: the server says that nothing is missing."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()
    part = tmp_path / "cache" / "downloads" / f"{sha256(shop.data)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(shop.data)

    assert (fetched(shop, tmp_path / "cache") / "photos/1_G17.png").is_file()


@pytest.mark.parametrize(
    "begun", [b"another archive's beginning", bytes(1_000_000)], ids=["begun", "too long"]
)
def test_a_part_that_lies_accuses_nobody(begun: bytes, shop: Shop, tmp_path: Path) -> None:
    """Where bytes turn out wrong that a run before left behind, the server is asked once more for all."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()
    part = tmp_path / "cache" / "downloads" / f"{sha256(shop.data)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(begun)

    assert (fetched(shop, tmp_path / "cache") / "photos/1_G17.png").read_bytes() == b"one"
    assert shop.asked == [f"bytes={len(begun)}-", ""]


def test_an_altered_archive_is_asked_for_once_more_and_no_oftener(shop: Shop, tmp_path: Path) -> None:
    """What the server gave from the first byte on is its own."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()
    part = tmp_path / "cache" / "downloads" / f"{'0' * 64}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(shop.data[:100])

    with pytest.raises(BuildError, match=r"has sha256 .*, not 000000000000"):
        fetched(shop, tmp_path / "cache", digest="0" * 64)
    assert shop.asked == ["bytes=100-", ""]
    assert not part.exists()


def test_a_length_that_is_none_is_not_believed(shop: Shop, tmp_path: Path) -> None:
    """The digest says whether all of it came."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()
    shop.length = "abc"

    assert (fetched(shop, tmp_path / "cache") / "photos/1_G17.png").read_bytes() == b"one"


def test_other_bytes_than_promised_are_not_opened(shop: Shop, tmp_path: Path) -> None:
    """An archive that does not match the manifest's sha256 is thrown away unopened."""
    shop.data = make_zip(tmp_path / "a.zip", HARMLESS).read_bytes()

    with pytest.raises(BuildError, match=r"has sha256 .*, not 000000000000") as caught:
        fetched(shop, tmp_path / "cache", digest="0" * 64)

    assert "nothing of it was opened" in caught.value.hint
    assert left_behind(tmp_path / "cache") == ["downloads"]


def test_an_archive_without_end_is_cut_off(shop: Shop, tmp_path: Path) -> None:
    """The disk is safe from a server that never stops."""
    shop.data = bytes(100_000)

    with pytest.raises(BuildError, match="larger than 1000 bytes"):
        fetched(shop, tmp_path / "cache", limits=Limits(download=1000))


def test_plain_http_is_refused(shop: Shop, tmp_path: Path) -> None:
    """Neither an address nor a redirect leads away from https."""
    with pytest.raises(BuildError, match="not an https address"):
        fetch("http://127.0.0.1/a.zip", "0" * 64, cache=tmp_path, progress=silent)

    shop.redirect = "http://127.0.0.1:9/a.zip"
    with pytest.raises(BuildError, match="not an https address"):
        fetched(shop, tmp_path / "cache")


def test_an_unknown_certificate_is_refused(shop: Shop, tmp_path: Path) -> None:
    """A server that nobody vouches for is not asked for data."""
    with pytest.raises(BuildError, match=r"cannot be downloaded: .*certificate"):
        fetch(shop.url, "0" * 64, cache=tmp_path, progress=silent)


def test_an_archive_that_is_not_there(shop: Shop, tmp_path: Path) -> None:
    """The server's answer is passed on."""
    shop.status = 404

    with pytest.raises(BuildError, match="answers 404 Not Found"):
        fetched(shop, tmp_path, digest="0" * 64)


def test_the_digest_of_an_archive_needs_no_download(tmp_path: Path) -> None:
    """An archive is what its sha256 says; subfolder and seed choose from it."""
    variations = [
        ArchiveDataset("https://example.org/a.zip", "0" * 64),
        ArchiveDataset("https://example.org/a.zip", "1" * 64),
        ArchiveDataset("https://example.org/a.zip", "0" * 64, "photos"),
        ArchiveDataset("https://example.org/a.zip", "0" * 64, seed=1),
    ]

    assert len({datasets.digest(each, base=tmp_path, cache=tmp_path) for each in variations}) == 4
