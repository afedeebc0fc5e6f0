"""`fleetctl models compare`, from built variants to tables, numbers and a picture."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from published import published
from tiny_compiled import compiled_model
from toy_quadrants import MANIFEST, QUADRANTS, SIGNS, build_model, photo, write_photos

from fleetctl.artifact import Contract, Tensor
from fleetctl.cli import main
from fleetctl.errors import BuildError, GateRefused
from fleetctl.manifest.schema import VariantName
from fleetctl.models.compare import Built, Compared, Latency, Operations, compare, count_operations, kinds
from fleetctl.models.evaluate import judge
from fleetctl.models.plots import comparison_png
from fleetctl.models.samples import Samples

TWO_VARIANTS = MANIFEST.replace("variants: [int8]", "variants: [float32, int8]")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A fleet's manifest with the photos it learns from."""
    path = tmp_path / "inventory" / "fleet.yaml"
    write_photos(path.parent / "photos", *((i % 4, SIGNS[i % 4]) for i in range(20)))
    path.write_text(TWO_VARIANTS)
    return path


@pytest.fixture
def built(manifest: Path) -> Path:
    """The same with its model built and locked."""
    build_model(manifest)
    return manifest


def run(*args: object) -> int:
    return main(["models", "compare", *map(str, args)])


def test_each_variant_answers_the_same_photos(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accuracy, drop, time and operations of each variant, over the folder that was given."""
    photos = write_photos(tmp_path / "new", (0, "G17"), (1, "G17"), (2, "N35"), (2, "UNKNOWN"))

    assert run("toy", "--data", photos, "-f", built, "--output", "json") == 0

    told = published(capsys.readouterr().out)
    assert ("fleetctl.comparison/v1", "toy") == (told["schema"], told["model"])
    assert ["float32", "int8"] == [one["variant"] for one in told["variants"]]
    for one in told["variants"]:
        assert (3, 2 / 3, 0.0) == (one["n"], one["top1"], one["drop"])
        assert 0 < one["latency_ms"]["p50"] <= one["latency_ms"]["p95"]
        assert one["size"] > 0
        assert sum(kind["count"] for kind in one["operations"]) > 0
        assert 0.0 <= one["edgetpu"]["share"] <= 1.0


def test_photos_kept_for_evaluation_are_the_default(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A seeded fifth of each sign's photos: one of five."""
    assert run("toy", "-f", built, "--output", "json") == 0

    assert {4} == {one["n"] for one in published(capsys.readouterr().out)["variants"]}


@pytest.mark.parametrize("output", ["table", "markdown"])
def test_the_tables_fit_a_terminal(output: str, built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One table of variants and one of operations, in a hundred columns."""
    assert run("toy", "-f", built, "--output", output) == 0

    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    assert "float32" in told
    assert "operation" in told.lower()


def test_the_picture_is_a_png(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--plot` writes it beside the table."""
    assert run("toy", "-f", built, "--plot", tmp_path / "plot.png") == 0

    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "plot.png" in capsys.readouterr().err


def test_a_picture_that_cannot_be_written_is_said(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table was printed before: what was measured is not lost."""
    (tmp_path / "long").mkdir()

    for target, why in (
        (tmp_path / "long", f"{tmp_path / 'long'} is a folder"),
        (built / "plot.png", f"the folder {built} is no folder"),
        (tmp_path / f"{'x' * 300}.png", "File name too long"),
    ):
        assert 2 == run("toy", "-f", built, "--plot", target)

        said = capsys.readouterr()
        assert "float32" in said.out
        assert why in said.err


def test_a_picture_is_named_as_what_it_is(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A PNG called otherwise deceives whoever opens it: that is said before anything is measured."""
    assert 2 == run("toy", "-f", built, "--plot", tmp_path / "plot.svg")

    said = capsys.readouterr()
    assert "plot.png" in said.err
    assert "" == said.out


def test_a_folder_that_is_not_there_is_bad_usage(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the option that is wrong, and no dataset of the manifest."""
    assert 2 == run("toy", "--data", tmp_path / "gone", "-f", built)
    assert "hint: give a folder of photos with --data\n" in capsys.readouterr().err


def test_a_misspelt_label_is_not_compared_by(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every variant would seem to misread the photo."""
    photos = write_photos(tmp_path / "new", (0, "g17"), (1, "N35"))

    assert 20 == run("toy", "--data", photos, "-f", built)
    assert "did you mean G17?" in capsys.readouterr().err


def test_variants_that_are_not_built_are_named(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are built are compared all the same."""
    built.write_text(MANIFEST.replace("variants: [int8]", "variants: [int8, dynamic]"))

    assert run("toy", "-f", built, "--output", "json") == 0

    told = capsys.readouterr()
    assert [("int8", None)] == [(v["variant"], v["drop"]) for v in published(told.out)["variants"]]
    assert "not built: dynamic" in told.err
    assert "float32 is not built" in told.err


def test_what_another_machine_compiles_is_said_to_be_built_there(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build here would only leave it pending."""
    settings = "edgetpu: {compile: ci}\n    variants: [int8, edgetpu]"
    built.write_text(MANIFEST.replace("variants: [int8]", settings))

    assert run("toy", "-f", built) == 0
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "not built: edgetpu" in line]
    assert note.endswith("toy` on a machine with edgetpu_compiler")


def test_refused_variants_are_shown(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a gate refused is not in the lock, and it is what one wants to look at."""
    manifest.write_text(TWO_VARIANTS.replace("variants:", "gates: {max_size: 1B}\n    variants:"))
    with pytest.raises(GateRefused):
        build_model(manifest)

    assert run("toy", "-f", manifest, "--output", "json") == 0
    assert len(published(capsys.readouterr().out)["variants"]) == 2


@pytest.mark.parametrize(
    ("model", "code", "message"),
    [("tyo", 2, "the manifest has no model 'tyo'"), ("toy", 11, "is not built as the manifest describes it")],
)
def test_what_cannot_be_compared_is_said(
    model: str, code: int, message: str, manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong name, or a model that was never built, ends with its own exit status."""
    assert run(model, "-f", manifest) == code

    assert message in capsys.readouterr().err


def test_a_damaged_file_is_no_model() -> None:
    """Bytes that are no model end the comparison before anything is measured."""
    with pytest.raises(BuildError, match="not a TFLite model"):
        count_operations(QUADRANTS.read_bytes()[:40])


def test_of_several_files_the_one_that_is_no_model_is_named() -> None:
    """Whether it is cut short, or whole and not what its contract says."""
    whole = QUADRANTS.read_bytes()
    photos, scores = Tensor((1, 16, 16, 1), "uint8", 1.0), Tensor((1, 4), "uint8")
    contract = Contract("toy", "float32", "classification", SIGNS, {}, photos, scores, (), 0.1)
    other = replace(contract, variant="int8", labels=("A1",))
    samples = Samples([photo(0)], ["G17"], ["0"])

    for bad, why in (
        (Built(other, whole[:400]), "toy/int8/model.tflite: not a TFLite model: its structure is damaged"),
        (Built(other, whole), "toy/int8/model.tflite: the model gives 4 scores for 1 labels"),
    ):
        with pytest.raises(BuildError, match=why):
            compare({VariantName.INT8: bad, VariantName.FLOAT32: Built(contract, whole)}, samples)


def compared(variant: VariantName, size: int, right: int) -> Compared:
    truth = ["G17"] * 20
    answered = ["G17"] * right + ["N35"] * (20 - right)
    return Compared(
        variant,
        size,
        (),
        1.0,
        evaluation=judge(truth, answered, taught=["G17", "N35"]),
        latency=Latency(1.2, 1.1, 1.5),
    )


def test_the_same_numbers_give_the_same_picture() -> None:
    """No date, no version; and where all variants are equal there is still something to see."""
    some = [compared(VariantName.FLOAT32, 1 << 20, 19), compared(VariantName.INT8, 1 << 18, 18)]
    equal = [replace(one, size=1000, evaluation=some[0].evaluation) for one in some]

    assert comparison_png(some) == comparison_png(some)
    assert comparison_png(equal).startswith(b"\x89PNG")


def test_compiled_files_are_measured_elsewhere() -> None:
    """A file that only an Edge TPU runs has its size and operations, and no accuracy of this machine."""
    tflite = compiled_model(min_runtime=14, cached=b"weights")
    tensor = Tensor((1, 8), "uint8", 1.0)
    contract = Contract("toy", "edgetpu", "classification", ("A1",), {}, tensor, tensor, (), 0.1)

    one = compare({VariantName.EDGETPU: Built(contract, tflite)}, Samples([], [], []))[0]

    assert (len(tflite), None, None, None) == (one.size, one.evaluation, one.latency, one.tpu_share)
    assert [Operations("CUSTOM:edgetpu-custom-op", 1, (1,))] == list(one.operations)
    with pytest.raises(BuildError, match="nothing to draw: no variant runs on this machine"):
        comparison_png([one])


def test_kinds_come_in_the_order_of_their_number() -> None:
    """Whichever variant has them."""
    some = replace(compared(VariantName.FLOAT32, 1, 1), operations=(Operations("ADD", 2, (1,)),))
    more = replace(some, operations=(Operations("CONV_2D", 9, (3,)), Operations("PAD", 2, (1,))))

    assert ["CONV_2D", "ADD", "PAD"] == list(kinds([some, more]))
