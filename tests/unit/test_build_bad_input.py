"""`fleetctl build` given what it cannot use: exit 20, which file, why, what to try, and nothing touched."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from another_user import as_another_user, nobody
from toy_build import ToyStages

from fleetctl.build.builder import build
from fleetctl.cli import main
from fleetctl.manifest.loader import load
from fleetctl.models import photos
from fleetctl.project import Project
from fleetctl.store import Lock

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    architecture: {name: mobilenet_v2, alpha: 0.35, input: [32, 32, 1]}
    training: {epochs: 1, batch_size: 8}
    variants: [int8]
    smoke: {samples: 4}
boards:
  luxor-01: {board: raspberrypi4, model: toy, via: ansible, host: 192.0.2.1}
rollout: {waves: [{percent: 100}]}
"""


def picture(kind: str = "PNG", *, mode: str = "L", size: tuple[int, int] = (20, 30), **more: object) -> bytes:
    """The bytes of an image file of noise."""
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 256, size[::-1], dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).convert(mode).save(stream, kind, **more)
    return stream.getvalue()


def animation() -> bytes:
    from PIL import Image

    return picture(save_all=True, append_images=[Image.new("L", (20, 30), grey) for grey in (50, 100)])


def huge() -> bytes:
    """A PNG of 60,000 by 60,000 pixels in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def put(name: str, data: Callable[[], bytes]) -> Callable[[Path], None]:
    """A spoiler that puts one more file among the photos."""

    def spoil(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data())

    return spoil


def emptied(folder: Path) -> None:
    for photo in folder.iterdir():
        photo.unlink()


def removed(folder: Path) -> None:
    emptied(folder)
    folder.rmdir()


def only(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        emptied(folder)
        for name in names:
            (folder / name).write_bytes(picture())

    return spoil


@dataclass(frozen=True)
class Bad:
    """How to spoil the photos, and what must be said of it; {photos} is their folder."""

    spoil: Callable[[Path], None]
    error: str
    hint: str


LAYOUTS = "photos are named *_CODE.png, or lie in folders named by their sign"
REPLACE = "replace it, or move it away"
UNREADABLE = "{photos}/9_G17.png is not a readable PNG: "
CODES = "use codes such as G17 or Aa15, and UNKNOWN for a sign nobody can read"

CASES = {
    "no folder": Bad(removed, "{photos} is not a folder of photos", "check `path` of the dataset"),
    "empty folder": Bad(emptied, "{photos} holds no photos", LAYOUTS),
    "one class": Bad(
        only("1_G17.png", "2_G17.png"),
        "{photos} has only one sign, G17, to learn",
        "a reader needs at least two",
    ),
    "no class": Bad(
        only("1_UNKNOWN.png", "2_UNKNOWN.png"),
        "{photos} has no sign to learn",
        "a reader needs at least two",
    ),
    "nothing kept out": Bad(
        only("1_G17.png", "2_M17.png"),
        "{photos} keeps no sample out for evaluation",
        "give at least two samples of some sign",
    ),
    "zero bytes": Bad(put("9_G17.png", bytes), UNREADABLE + "it is empty", REPLACE),
    "a text": Bad(
        put("9_G17.png", lambda: b"no image"), UNREADABLE + "it is a file of another kind", REPLACE
    ),
    "a JPEG called PNG": Bad(
        put("9_G17.png", lambda: picture("JPEG")), UNREADABLE + "it is a file of another kind", REPLACE
    ),
    "a CMYK TIFF called PNG": Bad(
        put("9_G17.png", lambda: picture("TIFF", mode="CMYK")),
        UNREADABLE + "it is a file of another kind",
        REPLACE,
    ),
    "truncated": Bad(
        put("9_G17.png", lambda: picture()[:200]), UNREADABLE + "image file is truncated", REPLACE
    ),
    "only a signature": Bad(
        put("9_G17.png", lambda: picture()[:12]), UNREADABLE + "its header is damaged", REPLACE
    ),
    "huge": Bad(
        put("9_G17.png", huge),
        "{photos}/9_G17.png has more than 17 million pixels",
        REPLACE,
    ),
    "animated": Bad(
        put("9_G17.png", animation),
        "{photos}/9_G17.png is animated: it has 3 frames",
        "keep the one that shows the sign",
    ),
    "a JPEG": Bad(
        put("9_G17.jpg", lambda: picture("JPEG")),
        "{photos}/9_G17.jpg is a photo that is no PNG",
        "convert it to PNG, or move it away",
    ),
    "a photo of a telephone": Bad(
        put("G17/1.HEIC", picture),
        "{photos}/G17/1.HEIC is a photo that is no PNG",
        "convert it to PNG, or move it away",
    ),
    "a sign without photos": Bad(
        lambda folder: (folder / "N35").mkdir(),
        "{photos}/N35 holds no photos of its sign",
        "put PNGs into it, or remove the folder",
    ),
    "a name that is not UTF-8": Bad(
        put("9\udcff_G17.png", picture), "the name of {photos}/9\\xff_G17.png is not UTF-8", "rename it"
    ),
    "a folder's name that is not UTF-8": Bad(
        put("G\udcff/1.png", picture),
        "the name of {photos}/G\\xff/1.png is not UTF-8",
        "rename it",
    ),
    "a pipe": Bad(
        lambda folder: os.mkfifo(folder / "9_G17.png"), "{photos}/9_G17.png is not a file", REPLACE
    ),
    "a dead link": Bad(
        lambda folder: (folder / "9_G17.png").symlink_to("nowhere"),
        "{photos}/9_G17.png is not a file",
        REPLACE,
    ),
    "no label": Bad(put("photo.png", picture), "{photos}/photo.png does not say its sign", LAYOUTS),
    "an empty label": Bad(
        put("9_.png", picture),
        "{photos}/9_.png names the sign '', which is not a label",
        "use letters, digits, . and -",
    ),
    "a label that is no code": Bad(
        put("9_Hello.png", picture),
        "{photos}/9_Hello.png names the sign 'Hello', which is no Gardiner code",
        CODES,
    ),
    "a misspelt code": Bad(
        put("g17/1.png", picture),
        "{photos}/g17/1.png names the sign 'g17', which is no Gardiner code; did you mean G17?",
        CODES,
    ),
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A fleet whose model is built and locked, from eight photos of two signs."""
    path = tmp_path / "inventory" / "fleet.yaml"
    folder = path.parent / "photos"
    folder.mkdir(parents=True)
    path.write_text(MANIFEST)
    for number, sign in enumerate(["G17", "M17"] * 4):
        (folder / f"{number}_{sign}.png").write_bytes(picture())
    build(load(path), Project(path), stages=ToyStages())
    return path


def artifacts(manifest: Path) -> dict[Path, bytes]:
    """Lock and store, byte for byte."""
    folder = Project(manifest).artifacts
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_bad_data_are_refused(manifest: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    """One sentence that names the file, one that says what to try, and lock and store as they were."""
    folder, bad, before = manifest.parent / "photos", CASES[case], artifacts(manifest)
    bad.spoil(folder)

    status = main(["build", "-f", str(manifest)])

    said = capsys.readouterr()
    talk = [line for line in said.err.splitlines() if not line.startswith("  ")]
    assert (20, "") == (status, said.out)
    assert [f"error: {bad.error.format(photos=folder)}", f"hint: {bad.hint}"] == talk
    assert before == artifacts(manifest)
    assert len(before) > 3


def evaluated_on(manifest: Path, *signs: str) -> None:
    """Give the dataset photos of its own to be evaluated on."""
    folder = manifest.parent / "kept"
    folder.mkdir()
    for sign in signs:
        (folder / f"1_{sign}.png").write_bytes(picture())
    manifest.write_text(MANIFEST.replace("path: photos}", "path: photos, evaluation: kept}"))


def test_an_evaluation_of_other_signs_is_refused(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that was taught none of the signs it is asked for would be measured at nothing."""
    before = artifacts(manifest)
    evaluated_on(manifest, "N35", "S29")

    assert main(["build", "-f", str(manifest)]) == 20

    said = capsys.readouterr()
    place = manifest.parent / "photos"
    assert f"error: {place} teaches no sign of its evaluation: G17, M17 against N35, S29\n" in said.err
    assert ("", before) == (said.out, artifacts(manifest))


def test_a_build_that_is_running_is_not_disturbed(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 50 says who is at work, since when, and that the lock goes with its process."""
    before = artifacts(manifest)
    with Lock(Project(manifest).state / "build.lock", "build of unas"):
        status = main(["build", "-f", str(manifest)])

    said = capsys.readouterr()
    assert (50, "", before) == (status, said.out, artifacts(manifest))
    assert f"(pid {os.getpid()} on " in said.err


@as_another_user
@pytest.mark.parametrize("place", ["photos", "photos/0_G17.png"])
def test_photos_that_may_not_be_read(manifest: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    """Permission denied is said of the file or folder it concerns, and is no internal error."""
    path, before = manifest.parent / place, artifacts(manifest)
    path.chmod(0)
    with nobody(manifest.parents[1]):
        status = main(["build", "-f", str(manifest)])

    said = capsys.readouterr()
    path.chmod(0o755)
    assert (20, f"error: {path} cannot be read: Permission denied\n") == (status, said.err)
    assert before == artifacts(manifest)


@as_another_user
def test_a_store_that_may_not_be_written(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of somebody else's is named; nothing else is tried in its place."""
    state = Project(manifest).state
    (state / "build.lock").unlink()
    state.chmod(0o555)
    with nobody(manifest.parents[1], but=state):
        status = main(["build", "-f", str(manifest)])

    said = capsys.readouterr()
    assert (20, f"error: cannot write {state / 'build.lock'}: Permission denied\n") == (status, said.err)


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (lambda: picture(size=(1, 1)), (1, 1)),
        (lambda: picture(mode="P"), (30, 20)),
        (lambda: picture(mode="RGBA"), (30, 20)),
        (lambda: picture(size=(3000, 1)), (1, 3000)),
    ],
    ids=["one pixel", "palette", "transparent", "a line"],
)
def test_unusual_photos_are_used(tmp_path: Path, data: Callable[[], bytes], shape: tuple[int, int]) -> None:
    """What PNG allows and a camera or scanner writes is no error, up to the network's input."""
    from fleetctl.device.preprocess import prepare
    from fleetctl.manifest.schema import Architecture
    from fleetctl.models.reader import preprocess_spec

    path = tmp_path / "1_G17.png"
    path.write_bytes(data())

    image = photos.decode(path)

    assert (shape, np.uint8) == (image.shape, image.dtype)
    assert (96, 96, 1) == prepare(image, preprocess_spec(Architecture())).shape
