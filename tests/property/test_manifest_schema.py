"""The published JSON Schema and the decoder are readings of one description: they accept the same."""

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import documents, to_yaml

from fleetctl.errors import ManifestError
from fleetctl.manifest.complaints import Complaint
from fleetctl.manifest.document import FLEET
from fleetctl.manifest.files import MAX_BYTES
from fleetctl.manifest.json_schema import json_schema, json_schema_text
from fleetctl.manifest.kinds import Anything
from fleetctl.manifest.loader import load
from fleetctl.manifest.reference import reference
from fleetctl.manifest.tree import MAX_DEPTH, MAX_VALUES, parse

REPOSITORY = Path(__file__).resolve().parents[2]
CASES = REPOSITORY / "tests" / "cases" / "manifest"
VALIDATOR = jsonschema.Draft202012Validator(json_schema())

# Values that are wrong in many places, next to some that are right in a few. Not here: 22.0, which JSON
# Schema calls an integer and we do not; and integers beyond 64 bits.
ODD_VALUES = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        1.5,
        101,
        2**32,
        10**6,
        "",
        "x",
        "A b",
        "5m",
        "0s",
        "1.5 MiB",
        "10kB",
        "60",
        "-1s",
    ),
    *(
        "rendered",
        "archive",
        "int8",
        "pause",
        "x\n",
        "é",
        "a,b",
        "/",
        "/opt/..",
        "../x",
        "a" * 300,
        [],
        {},
        [None],
    ),
    *(
        ["int8", "int8"],
        ["x"],
        {"kind": "rendered"},
        {"a": 1},
        {"percent": 5},
        [{"group": "a", "percent": 5}],
    ),
]


def decoder_refuses(text: str) -> bool:
    complaints: list[Complaint] = []
    FLEET.decode(parse(text.encode(), "fleet.yaml"), complaints)
    return bool(complaints)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, the document itself left out."""
    children: list[tuple[Any, Any]] = []
    if isinstance(value, dict | list):
        children = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [below for key, child in children for below in ((*path, key), *places(child, (*path, key)))]


def at(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


@st.composite
def changed_documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid document with one or two values replaced, removed, or added under a new key."""
    document = copy.deepcopy(draw(documents()))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(places(document) or [("kind",)]))
        parent, key = at(document, path[:-1]), path[-1]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                parent[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
            case "remove":
                del parent[key]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(["x", "seed", "percent", "boards", "port", "a b"]))] = 1
            case _:
                parent.append(1) if isinstance(parent, list) else None
    return document


def test_the_published_schema_is_current() -> None:
    """inventory/schema.json is what `fleetctl schema` prints now."""
    assert (REPOSITORY / "inventory" / "schema.json").read_text("utf-8") == json_schema_text(), (
        "run `fleetctl schema > inventory/schema.json`"
    )


def test_the_schema_is_a_schema() -> None:
    """The schema itself follows draft 2020-12."""
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_reference_is_current() -> None:
    """The tables of docs/manifest.md are what `fleetctl schema -o markdown` prints now."""
    assert reference().strip() in (REPOSITORY / "docs" / "manifest.md").read_text("utf-8"), (
        "paste the output of `fleetctl schema -o markdown` below the heading Reference"
    )


@settings(deadline=None, max_examples=40)
@given(documents(), st.randoms(use_true_random=False))
def test_valid_documents_are_valid_to_both(document: dict[str, Any], random: Random) -> None:
    """What loads is what editors call valid."""
    assert list(VALIDATOR.iter_errors(document)) == []
    assert not decoder_refuses(to_yaml(document, random))


@settings(deadline=None, max_examples=120)
@given(changed_documents())
def test_changed_documents_are_refused_by_both_or_neither(document: dict[str, Any]) -> None:
    """Whatever is put anywhere in a document, schema and decoder agree about it."""
    assert decoder_refuses(as_text(document)) == (not VALIDATOR.is_valid(document))


def as_text(document: dict[str, Any]) -> str:
    return to_yaml(document, Random(0)) if document else "{}"


PROBLEMS = yaml.safe_load((CASES / "problems.yaml").read_text("utf-8"))
UNSAYABLE = ["a duration of a year"]  # JSON Schema has no arithmetic


BASE = (CASES / "base.yaml").read_text("utf-8").splitlines()


def with_problem(case: dict[str, Any]) -> str:
    return "\n".join([*BASE[: case["line"] - 1], case["text"], *BASE[case["line"] :], ""])


def document_of(text: str) -> Any:
    """What a schema can be held against; None where there is no such thing."""
    try:
        root = parse(text.encode(), "fleet.yaml")
    except ManifestError:
        return None
    ambiguous: list[Complaint] = []
    document = json.loads(json.dumps(Anything().decode(root, ambiguous), default=repr))
    # Keys there twice and words that YAML readers disagree about are gone from a parsed document.
    return None if ambiguous else document


SAYABLE = [
    case for case in PROBLEMS if case["what"] not in UNSAYABLE and document_of(with_problem(case)) is not None
]


@pytest.mark.parametrize("case", SAYABLE, ids=lambda case: case["what"])
def test_bad_cases_are_judged_alike(case: dict[str, Any]) -> None:
    """On every bad manifest of the tables that is YAML at all, schema and decoder agree."""
    text = with_problem(case)

    assert decoder_refuses(text) == (not VALIDATOR.is_valid(document_of(text)))


def test_the_manual_states_the_limits() -> None:
    """The numbers in the manual are those of the code, and its example loads."""
    manual = (REPOSITORY / "docs" / "manifest.md").read_text("utf-8")

    assert f"at most {MAX_DEPTH} deep" in manual
    assert f"{MAX_VALUES:,} values" in manual
    assert f"All files together may be {MAX_BYTES // 2**20} MiB" in manual
    assert f"at {MAX_BYTES // 100_000} bytes each" in manual


def test_the_example_of_the_manual_loads(tmp_path: Path) -> None:
    """The first manifest that a reader sees is a valid one."""
    manual = (REPOSITORY / "docs" / "manifest.md").read_text("utf-8")
    path = tmp_path / "fleet.yaml"
    path.write_text(manual.split("```yaml\n")[1].split("```")[0])

    assert list(load(path).boards) == ["luxor-01", "karnak-07"]
