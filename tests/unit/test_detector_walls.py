"""Walls are composed the same way each time, and nothing that is held out gets into them."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image, ImageDraw

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import WallsDataset
from fleetctl.models.detector import masonry, relief, walls
from fleetctl.models.detector.masonry import Mason
from fleetctl.models.samples import Samples

SHAPES = {"N5": "ellipse", "O1": "rectangle"}


def crop(sign: str, shade: int = 60) -> Image.Image:
    """A dark disc or block of 30x24 pixels in the middle of light stone of 50x75."""
    picture = Image.new("L", (50, 75), 200)
    getattr(ImageDraw.Draw(picture), SHAPES[sign])((10, 25, 39, 48), fill=shade)
    return picture


def dataset(where: Path) -> WallsDataset:
    """Crops of plates 03 and 05, and a photo of each plate with one box."""
    (where / "crops").mkdir()
    for plate, shade in (("03", 60), ("05", 90)):
        for number in range(3):
            for sign in SHAPES:
                crop(sign, shade).save(where / "crops" / f"{plate}{number:04d}_{sign}.png")
    (where / "plates").mkdir()
    (where / "plates" / "boxes.csv").write_text(
        "plate,sign,x0,y0,x1,y1\n3,N5,10,10,60,50\n5,O1,20,20,80,60\n"
    )
    for plate in "35":
        Image.fromarray(np.full((300, 300), 190, np.uint8)).save(where / "plates" / f"{plate}.jpg")
    return WallsDataset(Path("plates"), Path("crops"), held_out=("5",), walls=2)


def samples() -> Samples:
    return Samples([np.asarray(crop(sign)) for sign in SHAPES], list(SHAPES), list(SHAPES))


def test_a_sign_leaves_its_stone_behind() -> None:
    """A relief is what the sign does to the stone: nothing at its edges, darker where the sign is."""
    found = relief.relief(np.asarray(crop("O1")), "O1")
    assert found is not None
    height, width = found.tone.shape[0] - 2 * found.margin, found.tone.shape[1] - 2 * found.margin
    assert (abs(height - 24) <= 4, abs(width - 30) <= 4, found.shrunk) == (True, True, False)
    assert np.allclose(found.tone[0], 1) and np.allclose(found.tone[:, -1], 1)
    assert found.tone[found.tone.shape[0] // 2, found.tone.shape[1] // 2] == pytest.approx(60 / 200, abs=0.01)


def test_bare_stone_has_no_relief() -> None:
    """A photo on which nothing stands out is left out."""
    assert relief.reliefs(Samples([np.full((75, 50), 180, np.uint8)], ["G17"], ["a"])) == []


def test_a_huge_photo_costs_no_more_than_a_usual_one() -> None:
    """One pixel high and a million wide: shrunk before anything is computed of it."""
    assert relief.relief(np.zeros((1, 1_000_000), np.uint8), "G17") is None


def test_refuses_crops_without_a_sign_on_them(tmp_path: Path) -> None:
    """Photos of bare stone, or one photo of each sign and nothing to measure on, are refused."""
    chosen = replace(dataset(tmp_path), held_out=(), plates=None)
    for path in (tmp_path / "crops").iterdir():
        Image.fromarray(np.full((75, 50), 180, np.uint8)).save(path)
    with pytest.raises(BuildError, match="none of 2 sign photos is fit"):
        walls.load(chosen, base=tmp_path, cache=tmp_path)
    for path in (tmp_path / "crops").glob("0[35]000[12]*"):
        path.unlink()
    for path in (tmp_path / "crops").glob("050000*"):
        path.unlink()
    for sign in SHAPES:
        crop(sign).save(tmp_path / "crops" / f"030000_{sign}.png")
    with pytest.raises(BuildError, match="none of 0 sign photos is fit"):
        walls.load(chosen, base=tmp_path, cache=tmp_path)


def test_a_sign_that_fills_its_photo_may_be_larger_on_a_wall() -> None:
    """Photos of a fixed frame shrink large signs."""
    picture = Image.new("L", (50, 75), 200)
    ImageDraw.Draw(picture).rectangle((1, 20, 48, 50), fill=60)
    found = relief.relief(np.asarray(picture), "O1")
    assert found is not None and found.shrunk


def test_the_same_wall_is_composed_twice() -> None:
    """Number and seed decide every pixel and box; another number gives another wall."""
    reliefs = relief.reliefs(samples())
    first, second = (Mason(reliefs, seed=1).wall(4) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.boxes.tolist() == second.boxes.tolist()
    assert not np.array_equal(first.image, Mason(reliefs, seed=1).wall(5).image)


def test_a_composed_wall_has_its_signs_where_its_boxes_are() -> None:
    """Boxes enclose what is darker than the stone around it, and are labelled with the sign laid there."""
    wall = Mason(relief.reliefs(samples()), seed=0).wall(0)
    assert wall.image.shape == (masonry.SIDE, masonry.SIDE)
    assert wall.complete and set(wall.signs) <= set(SHAPES) and len(wall.signs) == len(wall.boxes) > 5
    inside = [
        wall.image[int(y0) : int(y1), int(x0) : int(x1)].mean()
        for x0, y0, x1, y1 in wall.boxes
        if x0 >= 0 and y0 >= 0 and x1 <= masonry.SIDE and y1 <= masonry.SIDE
    ]
    assert np.mean(inside) < np.median(wall.image) - 5


def test_a_held_out_plate_and_its_crops_are_only_measured_on(tmp_path: Path) -> None:
    """Crops whose name starts with a held-out plate's number are not laid into walls."""
    chosen = dataset(tmp_path)
    scenes = walls.load(chosen, base=tmp_path, cache=tmp_path)
    assert [scene.name for scene in scenes.train] == ["plate 3", "composed 00000", "composed 00001"]
    assert [scene.name for scene in scenes.evaluation] == ["plate 5"]
    for number in range(3):
        (tmp_path / "crops" / f"03{number:04d}_O1.png").unlink()
    with pytest.raises(BuildError, match="fewer than two signs that come from no plate held out"):
        walls.load(replace(chosen, held_out=("5",)), base=tmp_path, cache=tmp_path)


def test_refuses_crops_of_no_sign(tmp_path: Path) -> None:
    """A slip in a name would be taught as one more label."""
    described = dataset(tmp_path)
    crop("N5").save(tmp_path / "crops" / "030009_n5.png")

    with pytest.raises(BuildError, match="names the sign 'n5', which is no Gardiner code; did you mean N5"):
        walls.load(described, base=tmp_path, cache=tmp_path)


def test_without_a_plate_held_out_composed_walls_are_measured_on(tmp_path: Path) -> None:
    """They are made of crops that the walls learnt from do not have."""
    chosen = replace(dataset(tmp_path), held_out=(), plates=None)
    scenes = walls.load(chosen, base=tmp_path, cache=tmp_path)
    assert len(scenes.evaluation) == 4
    assert all(scene.complete for scene in scenes.evaluation)


def test_refuses_a_held_out_plate_that_is_not_there(tmp_path: Path) -> None:
    """The message says which plates there are."""
    with pytest.raises(BuildError) as refused:
        walls.load(replace(dataset(tmp_path), held_out=("7",)), base=tmp_path, cache=tmp_path)
    assert refused.value.hint == "`plates` has 3, 5"


def test_refuses_crops_that_are_all_held_out(tmp_path: Path) -> None:
    """Nothing to compose walls of is an error, not an empty wall."""
    with pytest.raises(BuildError, match="fewer than two signs"):
        walls.load(replace(dataset(tmp_path), held_out=("3", "5")), base=tmp_path, cache=tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"walls": 3}, {"held_out": ()}, {"plates": None}, {"crops": None}],
    ids=lambda change: next(iter(change)),
)
def test_the_digest_names_every_setting(tmp_path: Path, change: dict[str, object]) -> None:
    """Another setting, another digest; the same one, the same."""
    chosen = dataset(tmp_path)
    first = walls.digest(chosen, base=tmp_path, cache=tmp_path / "cache")
    assert first == walls.digest(chosen, base=tmp_path, cache=tmp_path / "cache")
    assert first != walls.digest(replace(chosen, **change), base=tmp_path, cache=tmp_path / "cache")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["plates/boxes.csv", "plates/3.jpg", "crops/030000_N5.png"])
def test_the_digest_names_every_byte(tmp_path: Path, name: str) -> None:
    """A file that changed is noticed."""
    chosen = dataset(tmp_path)
    first = walls.digest(chosen, base=tmp_path, cache=tmp_path / "cache")
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b" ")
    assert first != walls.digest(chosen, base=tmp_path, cache=tmp_path / "cache")
