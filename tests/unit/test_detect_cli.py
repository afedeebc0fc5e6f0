"""`fleetctl models detect`, from a photo to JSON and a picture, with a real if tiny TFLite model."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from published import published
from tiny_board import MODELS, tiny_contract
from tiny_compiled import compiled_model
from tiny_detector import SCORE, marked, marks_contract

from fleetctl.artifact import Contract
from fleetctl.cli import main
from fleetctl.errors import BuildError
from fleetctl.models.detector.golden import choose
from fleetctl.models.detector.inference import Detection, Detector, Reader
from fleetctl.models.detector.measure import judge
from fleetctl.models.detector.picture import draw
from fleetctl.models.detector.scenes import Scene

MARKS = (MODELS / "marks.tflite").read_bytes()
DISC_BOX = [0.24, 1.53, 4.64, 8.07]


def artifact(where: Path, contract: Contract, model: str = "marks.tflite") -> Path:
    where.mkdir()
    (where / "contract.json").write_bytes(contract.to_json())
    (where / "model.tflite").write_bytes((MODELS / model).read_bytes())
    return where


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A disc at the upper left of a photo of 40x24, larger than the detector's tiles."""
    path = tmp_path / "wall.png"
    Image.fromarray(marked(("disc", 0, 0), shape=(24, 40))).convert("RGB").save(path)
    return path


def test_tells_what_is_on_a_photo(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON on stdout has boxes in pixels of the photo; the picture has the photo's size."""
    out = tmp_path / "boxes.png"
    folder = artifact(tmp_path / "marks", marks_contract())
    arguments = ["models", "detect", str(photo), "--artifact", str(folder), "--out", str(out), "-o", "json"]
    assert main(arguments) == 0
    told = published(capsys.readouterr().out)
    assert told["detections"] == [{"box": DISC_BOX, "sign": "disc", "score": SCORE}]
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("PNG", (40, 24))


@pytest.mark.parametrize(
    ("name", "mode", "why"),
    [
        ("wall.jpg", "RGB", "not a PNG, PGM, PPM or .npy picture"),
        ("wall.png", "I;16", "only PNG pictures with 8 bits a channel are read"),
        ("wall.png", "L", ""),
    ],
)
def test_what_a_board_would_turn_away_is_said(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], name: str, mode: str, why: str
) -> None:
    """Whoever tries a detector here must not think that boards answer for the same file."""
    folder = artifact(tmp_path / "marks", marks_contract())
    with Image.open(photo) as picture:
        picture.convert("L").convert(mode).save(tmp_path / name)

    assert 0 == main(["models", "detect", str(tmp_path / name), "--artifact", str(folder), "-o", "json"])
    said = " ".join(capsys.readouterr().err.split())
    assert (f"a board would turn {tmp_path / name} away: {why}" if why else "") in said
    assert bool(why) == ("a board would" in said)


def test_a_picture_that_cannot_be_written_is_said(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is the command line's fault, and none of fleetctl's."""
    folder = artifact(tmp_path / "marks", marks_contract())

    assert 2 == main(["models", "detect", str(photo), "--artifact", str(folder), "--out", str(tmp_path)])
    said = capsys.readouterr()
    assert f"error: {tmp_path} is a folder\n" in said.err
    assert "disc" in said.out  # what was found is not lost


@pytest.mark.parametrize(
    ("name", "why"),
    [("wall.png", "is the photo itself"), ("boxes.jpg", "would be a PNG by another kind's name")],
)
def test_a_picture_takes_the_place_of_no_photo(
    name: str, why: str, tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is it called what it is not: the photo is kept as it was, and nothing is detected."""
    folder, before = artifact(tmp_path / "marks", marks_contract()), photo.read_bytes()

    assert 2 == main(
        ["models", "detect", str(photo), "--artifact", str(folder), "--out", str(tmp_path / name)]
    )
    said = capsys.readouterr()
    assert why in " ".join(said.err.split())
    assert ("", before) == (said.out, photo.read_bytes())
    assert not (tmp_path / "boxes.jpg").exists()


def test_a_compiled_detector_is_for_boards(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said what runs it, and what runs here instead."""
    folder = artifact(tmp_path / "marks", marks_contract())
    (folder / "model.tflite").write_bytes(compiled_model(min_runtime=14, cached=b"weights"))

    assert 20 == main(["models", "detect", str(photo), "--artifact", str(folder)])
    said = capsys.readouterr().err
    assert "compiled for the Edge TPU: only a board with one runs it" in said
    assert "variant int8" in said


def test_min_score_takes_the_place_of_the_contracts(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What scores less is not told."""
    folder = artifact(tmp_path / "marks", marks_contract())
    assert (
        main(["models", "detect", str(photo), "--artifact", str(folder), "--min-score", "0.9", "-o", "json"])
        == 0
    )
    assert published(capsys.readouterr().out)["detections"] == []


def test_the_table_is_whole_pixels(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each sign."""
    folder = artifact(tmp_path / "marks", marks_contract())
    assert main(["models", "detect", str(photo), "--artifact", str(folder), "-o", "markdown"]) == 0
    assert "| disc | 0.79 | 0 | 2 | 5 | 8 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("wall.png", b"not a photo", "is not a readable PNG or JPEG"),
        ("wall.png", None, "wall.png cannot be read: No such file or directory"),
        ("marks/model.tflite", None, "cannot be read"),
        ("marks/model.tflite", b"TFL3", "cannot be run"),
        (
            "marks/model.tflite",
            MARKS[:400],
            "/marks: the model cannot be run: not a TFLite model: its structure",
        ),
        ("marks/contract.json", b"{", "contract.json"),
        (
            "marks/contract.json",
            marks_contract(labels=("disc", "bar", "cross")).to_json(),
            "expected [1, 5, 3], scores of each anchor and label",
        ),
        ("marks/contract.json", tiny_contract().to_json(), "is a classification model, not a detector"),
    ],
    ids=[
        "no photo",
        "absent",
        "no model",
        "torn model",
        "cut model",
        "torn contract",
        "other model",
        "a reader",
    ],
)
def test_says_what_is_wrong(
    tmp_path: Path,
    photo: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    message: str,
) -> None:
    """One clear error, nothing on stdout, and no picture; what is not there is a mistake of usage."""
    folder = artifact(tmp_path / "marks", marks_contract())
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "boxes.png"
    status = main(["models", "detect", str(photo), "--artifact", str(folder), "--out", str(out)])
    assert (2 if content is None else 20) == status
    said = capsys.readouterr()
    assert (said.out, "Traceback" in said.err, out.exists()) == ("", False, False)
    assert message in " ".join(said.err.split())


@pytest.mark.parametrize("name", ["wall.png", "marks/model.tflite", "marks/contract.json"])
def test_a_pipe_is_not_waited_for(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Nobody may ever write into it."""
    folder = artifact(tmp_path / "marks", marks_contract())
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    assert main(["models", "detect", str(photo), "--artifact", str(folder)]) != 0
    assert f"{tmp_path / name} is not a file" in "".join(capsys.readouterr().err.splitlines())


def test_a_reader_names_what_was_found() -> None:
    """Boxes and scores stay the detector's; the sign is what the reader sees in the box."""
    reader = Reader((MODELS / "quadrants.tflite").read_bytes(), tiny_contract())
    picture = np.zeros((60, 60), np.uint8)
    picture[40:50, 40:50] = 255  # the lower right of the box
    found = [Detection((30.0, 30.0, 50.0, 50.0), "disc", 0.7)]
    assert reader.read(picture, found) == [Detection((30.0, 30.0, 50.0, 50.0), "south-east", 0.7)]
    assert reader.read(picture, []) == []


def test_draws_names_where_they_can_be_read() -> None:
    """A name at the picture's edge is moved inside; the photo itself is not changed."""
    photo: NDArray[np.uint8] = np.full((80, 120), 200, np.uint8)
    png = draw(photo, [Detection((100.0, 60.0, 119.0, 79.0), "G17", 0.9)])
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (80, 120, 3)
    assert (pixels.min(axis=2) > 230).any()  # letters, whiter than the stone
    assert (photo == 200).all()


def scene(*marks: tuple[str, int, int], shape: tuple[int, int] = (160, 160)) -> Scene:
    picture = marked(*marks, shape=shape)
    detector = Detector((MODELS / "marks.tflite").read_bytes(), marks_contract())
    boxes = np.array([one.box for one in detector.detect(picture)], np.float32)
    return Scene("a", picture, boxes, ("disc",) * len(boxes), True)


def test_golden_scenes_are_those_that_all_models_answer_alike() -> None:
    """A model that finds less than another spoils the pieces on which it does."""
    model = (MODELS / "marks.tflite").read_bytes()
    usual, blunt = Detector(model, marks_contract()), Detector(model, marks_contract())
    walls = [scene(("disc", 0, 0), ("bar", 80, 80)), scene(("disc", 8, 8))]
    chosen = choose(walls, [usual, blunt], count=1, tolerance=0.1)
    assert (chosen.samples.shape, chosen.shared, len(chosen.answers[0])) == ((1, 160, 160), 1, 2)
    assert {one.label for one in chosen.answers[0]} == {"disc", "bar"}


def test_a_preprocessing_that_there_is_not_is_one_clear_error() -> None:
    """A contract that somebody wrote by hand may ask for it."""
    spec = {**marks_contract().preprocess, "fit": "stretch"}
    detector = Detector((MODELS / "marks.tflite").read_bytes(), marks_contract(preprocess=spec))

    with pytest.raises(BuildError, match="cannot be used: fit must be contain or cover, not stretch"):
        detector.detect(marked())


def test_golden_scenes_are_of_one_size() -> None:
    """They travel as one array: what photos smaller than a piece give is left out, unless it is commonest."""
    detector = Detector((MODELS / "marks.tflite").read_bytes(), marks_contract())
    large, small = scene(("disc", 0, 0), shape=(320, 160)), scene(("bar", 0, 0), shape=(96, 120))

    chosen = choose([small, large], [detector], count=8, tolerance=0.1)
    few = choose([small], [detector], count=8, tolerance=0.1)

    assert (1, 160, 160) == chosen.samples.shape
    assert (1, 96, 120) == few.samples.shape


def test_what_is_found_is_judged_as_found() -> None:
    """A scene boxed by the detector itself has nothing wrong."""
    truth = scene(("disc", 0, 0), ("bar", 80, 80))
    detector = Detector((MODELS / "marks.tflite").read_bytes(), marks_contract())
    assert judge(truth, detector.detect(truth.image)).box.tolist() == [0, 1]
