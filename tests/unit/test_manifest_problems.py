"""Bad manifests and exactly what is said about each: nothing but a table, in tests/cases/manifest."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetctl.errors import ManifestError
from fleetctl.manifest.loader import load

CASES = Path(__file__).parents[1] / "cases" / "manifest"
BASE = (CASES / "base.yaml").read_text("utf-8")
PROBLEMS: list[dict[str, Any]] = yaml.safe_load((CASES / "problems.yaml").read_text("utf-8"))


def problems_of(data: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is said about a fleet.yaml of these bytes, read from the folder it lies in."""
    (folder / "fleet.yaml").write_bytes(data)
    monkeypatch.chdir(folder)
    with pytest.raises(ManifestError) as caught:
        load(Path("fleet.yaml"))
    return [str(problem) for problem in caught.value.problems]


def test_the_base_of_all_cases_is_valid() -> None:
    """A case is bad for its one line, not for what surrounds it."""
    assert len(load(CASES / "base.yaml").boards) == 3


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case["what"])
def test_one_bad_line(case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base with one line replaced gives exactly these problems."""
    lines = BASE.splitlines()
    lines[case["line"] - 1] = case["text"]

    assert problems_of("\n".join([*lines, ""]).encode(), tmp_path, monkeypatch) == case["says"]


def test_small_epochs_are_some_of_the_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There cannot be more of them, of the one network that may have them."""
    data = BASE.replace("mobilenet_v2", "efficientnet_lite0").replace("20}", "20, small_epochs: 21}")

    (said,) = problems_of(data.encode(), tmp_path, monkeypatch)
    assert said == (
        "fleet.yaml:10:42: models.reader.training.small_epochs: `small_epochs` (21) are of `epochs`, "
        "which are 20; lower `training.small_epochs`"
    )


def test_quotes_count_however_often_a_word_was_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is no text, though the same digits were one in quotes before; texts are remembered by kind."""
    labels = 'labels: {a: "7", b: "7", c: x, d: x, e: 7}'
    bad = f"  luxor-09: {{board: raspberrypi4, model: reader, host: x, {labels}}}"
    data = BASE.replace("boards:\n", f"boards:\n{bad}\n")

    (said,) = problems_of(data.encode(), tmp_path, monkeypatch)
    assert "labels.e: must be a label value" in said
    assert "`7`, which unquoted is a number" in said


LIST_OF_20 = b"[" + b", ".join([b"x"] * 20) + b"]"
BILLION_LAUGHS = (
    b"a0: &a0 "
    + LIST_OF_20
    + b"".join(b"\na%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 20)) for n in range(1, 9))
)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "fleet.yaml: is empty; `fleetctl init` writes an example"),
        (b"# nothing yet\n", "fleet.yaml: is empty; `fleetctl init` writes an example"),
        (b"- a\n- b\n", "fleet.yaml:1:1: must be a mapping, not a list"),
        (b"hello\n", "fleet.yaml:1:1: must be a mapping, not `hello`"),
        (b"a: 1\nb: caf\xe9\n", "fleet.yaml:2:7: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("a: 1\n".encode("utf-16"), "fleet.yaml:1:1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (
            b"a: 1\nb: \xc3\xa9\x07\n",
            "fleet.yaml:2:5: control character U+0007; delete it, or write it as an escape",
        ),
        (b"a: \x00", "fleet.yaml:1:4: control character U+0000; delete it, or write it as an escape"),
        (
            b"a: " + b"[" * 900,  # libyaml, which looks ahead here, has a limit of its own at 1,000
            "fleet.yaml:1:67: collections are nested more than 64 deep, aliases followed",
        ),
        (b"{a: " * 100_000, "fleet.yaml:1:257: collections are nested more than 64 deep, aliases followed"),
        (b"- " * 5_000, "fleet.yaml:1:129: collections are nested more than 64 deep, aliases followed"),
        (
            b"a: &a " + b"[" * 60 + b"]" * 60 + b"\nb: &b [[[[*a]]]]\n",
            "fleet.yaml:2:11: collections are nested more than 64 deep, aliases followed",
        ),
        (b"a: &a [*a]\n", "fleet.yaml:1:8: alias `*a` has no anchor `&a` before it"),
        (
            BILLION_LAUGHS,
            "fleet.yaml:6:10: more than 5,000,000 values up to here, aliases followed; "
            "split the fleet, or give settings to a group instead of each board",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:20]),
)
def test_not_a_manifest_at_all(
    data: bytes, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the bytes, there is one problem with its place, at once."""
    assert problems_of(data, tmp_path, monkeypatch) == [says]


def test_problems_of_every_sort_come_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong type, an unknown key, a dangling name and bad waves are told at once, in the order of lines."""
    text = BASE.replace("epochs: 20", "epochs: many").replace("user: pi", "usr: pi")
    text = text.replace("boards: [luxor-01]", "boards: [luxor-9]").replace(
        "50}, {percent: 100}", "50}, {percent: 5}"
    )

    said = problems_of(text.encode(), tmp_path, monkeypatch)

    assert [line.split(": ")[1] for line in said] == [
        "defaults.usr",
        "models.reader.training.epochs",
        "groups.canary.boards[0]",
        "rollout.waves[2].percent",
    ]


def test_did_you_mean_stays_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of dangling names are told in seconds: comparing each with all others would take hours."""
    boards = "".join(f"  board-{i}: {{board: generic, via: iothub}}\n" for i in range(2_000))
    names = ", ".join(f"baord-{i}" for i in range(2_000))
    text = BASE.replace("boards: [luxor-01]", f"boards: [luxor-01, {names}]").replace(
        "boards:\n", f"boards:\n{boards}"
    )
    text = text.replace("user: pi", "user: pi, model: reader")

    said = problems_of(text.encode(), tmp_path, monkeypatch)

    assert len(said) == 2_000
    assert said[0].endswith("unknown board `baord-0`; did you mean `board-0`?")
    assert said[-1].endswith("unknown board `baord-1999`")
