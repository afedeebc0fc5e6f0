"""`fleetctl models evaluate`, from a locked model to the numbers, with a real if tiny TFLite model."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from published import published
from toy_quadrants import MANIFEST, QUADRANTS, SIGNS, build_model, write_photos

from fleetctl import lockfile
from fleetctl.artifact import MODEL_FILE, BlobRef
from fleetctl.cli import main
from fleetctl.project import Project
from fleetctl.store import BlobStore


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A fleet's manifest with the photos it learns from."""
    path = tmp_path / "inventory" / "fleet.yaml"
    write_photos(path.parent / "photos", *enumerate(SIGNS))
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def built(manifest: Path) -> Path:
    """The same with its model built and locked."""
    build_model(manifest)
    return manifest


def run(*args: object) -> int:
    return main(["models", "evaluate", *map(str, args)])


def test_each_labelled_photo_counts(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Right, wrong, untaught and unknown photos end where the document says."""
    photos = write_photos(
        tmp_path / "new", (0, "G17"), (0, "G17"), (1, "G17"), (3, "Z1"), (2, "A1"), (2, "UNKNOWN")
    )

    assert run("toy", "--variant", "int8", "--data", photos, "-f", built, "--output", "json") == 0

    assert published(capsys.readouterr().out) == {
        "schema": "fleetctl.evaluation/v1",
        "model": "toy",
        "variant": "int8",
        "n": 5,
        "top1": 0.6,
        "n_seen": 4,
        "top1_seen": 0.75,
        "per_class": {
            "A1": {"n": 1, "right": 0},
            "G17": {"n": 3, "right": 2},
            "Z1": {"n": 1, "right": 1},
        },
        "rejection": {
            "threshold": 0.5,
            "labelled": {"n": 5, "rejected": 0},
            "unknown": {"n": 1, "rejected": 0},
            "accepted": {"n": 5, "right": 3, "top1": 0.6},
        },
    }


@pytest.mark.parametrize(
    ("output", "last"),
    [("table", "all                 2       1      50.0 %"), ("markdown", "| all | 2 | 1 | 50.0 % |")],
)
def test_tables_end_with_the_whole(
    output: str, last: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last row is the figure that gates are about."""
    photos = write_photos(tmp_path / "new", (0, "G17"), (1, "N35"))

    assert run("toy", "--data", photos, "-f", built, "--output", output) == 0

    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(
    ("model", "variant", "folder", "code", "message"),
    [
        ("tyo", "int8", "new", 2, "the manifest has no model 'tyo'"),
        ("toy", "float32", "new", 11, "has no variant float32"),
        ("toy", "int8", "gone", 2, "gone cannot be read: No such file or directory"),
    ],
)
def test_what_is_not_there_is_named(
    model: str,
    variant: str,
    folder: str,
    code: int,
    message: str,
    built: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A wrong model, variant or folder ends with its own exit status and one sentence."""
    write_photos(tmp_path / "new", (0, "G17"))

    assert run(model, "--variant", variant, "--data", tmp_path / folder, "-f", built) == code

    assert message in capsys.readouterr().err


def test_a_model_that_was_not_built_is_not_measured(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a lock there is nothing to measure; the message says what to run."""
    photos = write_photos(tmp_path / "new", (0, "G17"))

    assert run("toy", "--data", photos, "-f", manifest) == 11
    assert "fleetctl build" in capsys.readouterr().err


def test_a_file_that_is_no_model_is_named(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that was locked with half a model is told by the model's name, not as a fault of the photos."""
    photos = write_photos(tmp_path / "new", (0, "G17"))
    lock_anew(Project(built), QUADRANTS.read_bytes()[:400])

    assert run("toy", "--data", photos, "-f", built) == 20
    told = "toy/int8/model.tflite: the model cannot be run: not a TFLite model: its structure is damaged"
    assert told in capsys.readouterr().err


def lock_anew(project: Project, tflite: bytes) -> None:
    """Have the lock name other bytes as the model."""
    lock = lockfile.read(project.lockfile)
    toy = lock.models["toy"]
    whole = toy.variants["int8"]
    ref = BlobRef(BlobStore(project.store).put(tflite), len(tflite))
    artifact = replace(whole.artifact, files={**whole.artifact.files, MODEL_FILE: ref})
    variants = {**toy.variants, "int8": replace(whole, artifact=artifact)}
    models = {**lock.models, "toy": replace(toy, variants=variants)}
    lockfile.write(project.lockfile, replace(lock, models=models))


@pytest.mark.parametrize("number", ["nan", "inf", "-nan", "1.5"])
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "toy", "--data", "photos", "--threshold"],
        ["check", "model.tflite", "--require-share"],
        ["detect", "wall.png", "--min-score"],
    ],
    ids=["evaluate", "check", "detect"],
)
def test_numbers_are_numbers(command: list[str], number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is less than `nan`, so that a gate of it would let everything pass."""
    assert 2 == main(["models", *command[:-1], f"{command[-1]}={number}"])

    said = capsys.readouterr().err
    assert command[-1] in said
    assert ("which is no number" in said) is ("nan" in number)


FINDER = """\
  finder:
    task: detection
    dataset: {kind: walls}
    architecture: {name: ssd_mobilenet_v1, input: [320, 320, 1]}
"""


def test_a_detector_is_measured_by_other_verbs(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no one answer to a photo; the message says which verb to use."""
    built.write_text(MANIFEST.replace("boards:", f"{FINDER}boards:"))

    assert 2 == run("finder", "--data", tmp_path, "-f", built)

    said = capsys.readouterr().err
    assert "finder is a detector" in said
    assert f"fleetctl models detect -f {built} PHOTO --model finder" in said


@pytest.mark.parametrize(
    ("label", "meant"),
    [("g17", "; did you mean G17?"), ("unknown", "; did you mean UNKNOWN?"), ("G17-2", "")],
)
def test_a_misspelt_label_is_not_the_models_mistake(
    label: str, meant: str, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused as a dataset's is; signs that the model was never taught count as before."""
    photos = write_photos(tmp_path / "new", (0, "G17"), (0, label))

    assert 20 == run("toy", "--data", photos, "-f", built)

    said = capsys.readouterr().err
    assert f"0001_{label}.png names the sign '{label}', which is no Gardiner code{meant}\n" in said
