"""Folders of photos: both layouts, what is refused, and the digest that names them."""

import os
import shutil
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import FolderDataset
from fleetctl.models import datasets, photos
from fleetctl.models.folder_digest import folder_digest
from fleetctl.models.samples import Samples, Split, shared, stratified
from fleetctl.store import sha256_file


def write_png(path: Path, value: int = 100, *, size: tuple[int, int] = (50, 75), mode: str = "L") -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    colour = value if mode in ("L", "I;16") else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)


def flat(folder: Path) -> Path:
    for number in range(10):
        write_png(folder / f"{number:04d}_{'G17' if number % 2 else 'N35'}.png", 20 * number)
    return folder


def nested(folder: Path) -> Path:
    for number in range(10):
        write_png(folder / ("G17" if number % 2 else "N35") / f"{number:04d}.png", 20 * number)
    return folder


@pytest.mark.parametrize("layout", [flat, nested])
def test_both_layouts_give_the_same_samples(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    """`0001_G17.png` and `G17/0001.png` say the same."""
    samples = photos.read(layout(tmp_path / "photos"))

    assert samples.counts == {"G17": 5, "N35": 5}
    assert {
        (label, int(image[0, 0])) for label, image in zip(samples.labels, samples.images, strict=True)
    } == {("G17" if n % 2 else "N35", 20 * n) for n in range(10)}
    assert samples.images[0].shape == (75, 50)


def test_unknown_signs_teach_nothing(tmp_path: Path) -> None:
    """Photos labelled UNKNOWN are left out."""
    write_png(flat(tmp_path) / "0099_UNKNOWN.png")

    assert "UNKNOWN" not in photos.read(tmp_path).counts


def test_hidden_files_are_not_photos(tmp_path: Path) -> None:
    """What macOS and editors leave behind is passed over."""
    (flat(tmp_path) / "._0000_G17.png").write_bytes(b"junk")
    (tmp_path / ".DS_Store").write_bytes(b"junk")

    assert len(photos.read(tmp_path)) == 10


@pytest.mark.parametrize(("mode", "grey"), [("RGB", 120), ("L", 120), ("RGBA", 191)])
def test_any_kind_of_png_becomes_grey(mode: str, grey: int, tmp_path: Path) -> None:
    """Colour and transparency over white all end as uint8 grey."""
    write_png(tmp_path / "1_G17.png", 120, mode=mode)

    image = photos.decode(tmp_path / "1_G17.png")

    assert (image.dtype.name, image.ndim) == ("uint8", 2)
    assert abs(int(image[0, 0]) - grey) <= 1


PIXELS = np.random.default_rng(5).integers(0, 256, (40, 30, 4), np.uint8)


TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


@pytest.mark.parametrize(
    ("mode", "settings"),
    [
        ("RGBA", {}),
        ("LA", {}),
        ("RGB", {"exif": TURNED}),
        ("RGB", {"transparency": tuple(PIXELS[3, 3, :3].tolist())}),
        ("L", {"transparency": 100}),
        ("P", {}),
        ("P", {"transparency": bytes(range(0, 200, 3))}),
        ("P", {"transparency": 7}),
    ],
    ids=["RGBA", "LA", "turned", "a colour", "a grey", "palette", "palette's alphas", "palette's one"],
)
def test_training_sees_what_a_board_sees(mode: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """The same file gives the same grey pixels, byte for byte, whoever decodes it; so do photos of walls."""
    from PIL import Image

    from fleetctl.device import images
    from fleetctl.device.preprocess import to_grey
    from fleetctl.models.detector import pictures

    image = Image.fromarray(PIXELS)
    if mode != "RGBA":  # of which LA alone keeps the alpha
        image = image.convert(mode) if mode == "LA" else image.convert("RGB").convert(mode)
    path = tmp_path / "1_G17.png"
    image.save(path, "PNG", **settings)

    on_a_board = to_grey(images.decode(path.read_bytes()))
    np.testing.assert_array_equal(on_a_board, photos.decode(path))
    np.testing.assert_array_equal(on_a_board, pictures.read_grey(path))


@pytest.mark.parametrize("mode", ["1", "I;16"])
def test_a_photo_that_no_board_reads_is_refused(mode: str, tmp_path: Path) -> None:
    """A model is not taught pictures that a board would turn away."""
    write_png(tmp_path / "1_G17.png", 120, mode=mode)

    with pytest.raises(BuildError, match="only PNG pictures with 8 bits a channel are read") as refused:
        photos.decode(tmp_path / "1_G17.png")
    assert refused.value.hint == "convert it to a PNG with 8 bits a channel that is not interlaced"


def test_a_photo_that_is_too_long_for_a_board_is_not_to_be_converted(tmp_path: Path) -> None:
    """It is of the right kind: another photo has to take its place."""
    from PIL import Image

    path = tmp_path / "0_G17.png"
    Image.new("L", (20_000, 1)).save(path)

    with pytest.raises(BuildError, match="more than 16384 a side") as refused:
        photos.decode(path)
    assert refused.value.hint == "replace it, or move it away"


def cut_short(path: Path) -> None:
    write_png(path, size=(200, 200))
    path.write_bytes(path.read_bytes()[:-40])


def a_gif(path: Path) -> None:
    from PIL import Image

    Image.new("L", (50, 75)).save(path, "GIF")


def a_bomb(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize(
    "spoil",
    [cut_short, a_gif, a_bomb, lambda path: path.write_bytes(b""), lambda path: path.write_text("hello")],
    ids=["cut short", "a GIF", "a bomb", "empty", "text"],
)
def test_a_bad_photo_is_named(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    """The one photo among thousands that cannot be read is said by its path."""
    spoil(flat(tmp_path) / "0100_G17.png")

    with pytest.raises(BuildError, match=r"0100_G17\.png (is not a readable PNG|has more than)"):
        photos.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nolabel.png", "does not say its sign"),
        ("0001_.png", "which is not a label"),
        ("0001_a b.png", "which is not a label"),
        ("G17/deeper/1.png", "lies too deep"),
        ("_G17/1.png", "which is not a label"),
    ],
)
def test_a_photo_without_a_usable_label_is_refused(name: str, message: str, tmp_path: Path) -> None:
    """Nothing is trained on a guess, and no photo is left out in silence."""
    write_png(flat(tmp_path) / name)

    with pytest.raises(BuildError, match=message):
        photos.read(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "JFIF", "jp2", "heic", "HEIF", "avif", "webp"])
def test_photos_of_other_kinds_are_not_passed_over(suffix: str, tmp_path: Path) -> None:
    """Whoever gives them means them to be learnt from."""
    (flat(tmp_path) / f"1_G17.{suffix}").write_bytes(b"a photo")

    with pytest.raises(BuildError, match=rf"1_G17\.{suffix} is a photo that is no PNG"):
        photos.find(tmp_path)


def test_what_macos_adds_to_archives_is_no_photo(tmp_path: Path) -> None:
    """It has the names of the photos, and none of their pixels."""
    write_png(nested(tmp_path) / "__MACOSX" / "G17" / "._1.png")
    write_png(tmp_path / "__MACOSX" / "1_G17.png")

    assert not [photo.name for photo in photos.find(tmp_path) if "MACOSX" in photo.name]


def test_folders_that_are_no_signs_may_lie_beside_photos(tmp_path: Path) -> None:
    """Notes, say; a folder named by a sign is one whose photos are missing."""
    (flat(tmp_path) / "notes").mkdir()
    (tmp_path / "notes" / "plan.txt").write_text("none")

    assert 10 == len(photos.find(tmp_path))


def load(folder: Path, **more: object) -> Split:
    dataset = FolderDataset(folder, **more)  # type: ignore[arg-type]
    return datasets.load(dataset, base=folder.parent, cache=folder.parent / "cache")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The message says which folder, the hint which setting."""
    with pytest.raises(BuildError, match="nowhere is not a folder of photos") as caught:
        load(tmp_path / "nowhere")
    assert "path" in caught.value.hint


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    """A folder without a photo is a mistake, not an empty dataset."""
    (tmp_path / "photos").mkdir()

    with pytest.raises(BuildError, match="holds no photos"):
        load(tmp_path / "photos")


def test_one_sign_is_nothing_to_learn(tmp_path: Path) -> None:
    """A reader of one sign would always be right."""
    for number in range(4):
        write_png(tmp_path / "photos" / f"{number}_G17.png")

    with pytest.raises(BuildError, match="only one sign, G17, to learn"):
        load(tmp_path / "photos")


def test_nothing_to_measure_on_is_refused(tmp_path: Path) -> None:
    """With one photo of each sign there is nothing to keep out."""
    write_png(tmp_path / "photos" / "1_G17.png")
    write_png(tmp_path / "photos" / "2_N35.png")

    with pytest.raises(BuildError, match="keeps no sample out"):
        load(tmp_path / "photos")


def test_a_fifth_of_each_sign_is_kept_out(tmp_path: Path) -> None:
    """Without a folder for evaluation, the split is stratified, and the same for the same seed."""
    split = load(flat(tmp_path / "photos"))

    assert split.evaluation.counts == {"G17": 1, "N35": 1}
    assert not set(split.train.names) & set(split.evaluation.names)
    assert split.train.names == load(tmp_path / "photos").train.names
    assert len({tuple(load(tmp_path / "photos", seed=seed).evaluation.names) for seed in range(5)}) > 1


def test_a_single_photo_is_learnt_from() -> None:
    """The only photo of a sign goes into training: what was never seen cannot be read."""
    image = np.zeros((2, 2), np.uint8)
    samples = Samples([image] * 6, ["A1", "G17", "G17", "G17", "G17", "G17"], list("abcdef"))

    split = stratified(samples, seed=0)

    assert split.train.counts["A1"] == 1


def test_an_evaluation_folder_is_used(tmp_path: Path) -> None:
    """Kept-out photos that are given are taken whole, and all others are learnt from."""
    write_png(tmp_path / "kept" / "1_G17.png", 101)

    split = load(flat(tmp_path / "photos"), evaluation=tmp_path / "kept")

    assert (len(split.train), split.evaluation.names) == (10, ["1_G17.png"])


@pytest.mark.parametrize("copied", [False, True], ids=["the same folder", "copies by other names"])
def test_an_evaluation_by_heart_is_refused(tmp_path: Path, copied: bool) -> None:
    """A model that is asked what it has learnt seems to be always right."""
    folder = flat(tmp_path / "photos")
    kept = tmp_path / "kept" if copied else folder
    if copied:
        kept.mkdir()
        for photo in folder.iterdir():
            (kept / f"copy-{photo.name}").write_bytes(photo.read_bytes())

    with pytest.raises(BuildError, match=f"every photo of {kept} is among those to learn from") as refused:
        load(folder, evaluation=kept)

    assert "leave `evaluation` out" in refused.value.hint


def test_an_evaluation_of_which_some_is_known_is_used(tmp_path: Path) -> None:
    """The card says how much of it: a stray copy is no reason to build nothing."""
    write_png(tmp_path / "kept" / "1_G17.png", 101)
    write_png(tmp_path / "kept" / "2_G17.png", 20)

    split = load(flat(tmp_path / "photos"), evaluation=tmp_path / "kept")

    assert 1 == shared(split.train, split.evaluation)


def later() -> int:
    """A clock by which every photo was written long ago."""
    return time.time_ns() + 60_000_000_000


def test_the_digest_follows_names_and_contents(tmp_path: Path) -> None:
    """A changed pixel, a new label, a photo less: each is another dataset; a copy elsewhere is the same."""
    folder, cache = flat(tmp_path / "photos"), tmp_path / "cache"
    before = folder_digest(folder, cache=cache)
    shutil.copytree(folder, tmp_path / "copy")
    assert folder_digest(tmp_path / "copy", cache=cache) == before

    write_png(folder / "0000_N35.png", 33)
    changed = folder_digest(folder, cache=cache)
    (folder / "0001_G17.png").rename(folder / "0001_G18.png")
    renamed = folder_digest(folder, cache=cache)
    (folder / "0002_N35.png").unlink()

    assert len({before, changed, renamed, folder_digest(folder, cache=cache)}) == 4


def test_the_folder_may_lie_where_a_name_is_not_utf8(tmp_path: Path) -> None:
    """Only names in it are anywhere in what is built: those above it are the machine's."""
    usual, odd = flat(tmp_path / "photos"), flat(tmp_path / "caf\udce9" / "photos")

    assert folder_digest(usual, cache=tmp_path / "cache") == folder_digest(odd, cache=tmp_path / "cache")
    assert photos.read(usual).names == photos.read(odd).names


def test_a_change_within_the_clocks_resolution_is_seen(tmp_path: Path) -> None:
    """A photo rewritten at once, with as many bytes and the same time, is read again."""
    folder, cache = flat(tmp_path / "photos"), tmp_path / "cache"
    photo = folder / "0000_N35.png"
    before, times = folder_digest(folder, cache=cache), photo.stat()
    data = bytearray(photo.read_bytes())
    data[-1] ^= 1
    photo.write_bytes(data)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert folder_digest(folder, cache=cache) != before


def test_a_spoilt_digest_cache_costs_time_only(tmp_path: Path) -> None:
    """The cache may be cut short or be anything: the digest is the same."""
    folder, cache = flat(tmp_path / "photos"), tmp_path / "cache"
    before = folder_digest(folder, cache=cache, now=later)
    (memory,) = cache.iterdir()

    for spoilt in (memory.read_bytes()[:-50], b"[]", b'{"0000_N35.png": 7}', b"\xff"):
        memory.write_bytes(spoilt)
        assert folder_digest(folder, cache=cache, now=later) == before


def test_a_digest_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    """Whoever may not write here can still ask what a folder holds."""
    folder = flat(tmp_path / "photos")
    before = folder_digest(folder, cache=tmp_path / "cache", now=later)
    (tmp_path / "file").write_text("in the way")

    assert before == folder_digest(folder, cache=tmp_path / "file", now=later)


def test_a_photo_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    """What the cache remembers of a photo written long ago is believed."""
    folder, cache = flat(tmp_path / "photos"), tmp_path / "cache"
    before = folder_digest(folder, cache=cache, now=later)
    (memory,) = cache.iterdir()
    known = memory.read_text()
    memory.write_text(known.replace(sha256_file(folder / "0000_N35.png"), "0" * 64))

    assert folder_digest(folder, cache=cache, now=later) != before


def test_the_dataset_digest_follows_the_recipe(tmp_path: Path) -> None:
    """Seed, kept-out photos and drawn samples are part of what a dataset is."""
    folder = flat(tmp_path / "photos")
    variations = [
        FolderDataset(folder),
        FolderDataset(folder, seed=1),
        FolderDataset(folder, evaluation=folder),
        FolderDataset(folder, rendered=3),
        FolderDataset(folder, rendered=4),
    ]

    digests = [datasets.digest(each, base=tmp_path, cache=tmp_path / "cache") for each in variations]

    assert len(set(digests)) == len(variations)
