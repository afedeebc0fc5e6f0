"""A manifest with every key, and another value in the place of each: loaded, or refused with its problems."""

import contextlib
import copy
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from long_matrices import every

from fleetctl.errors import ManifestError
from fleetctl.manifest.json_schema import json_schema
from fleetctl.manifest.loader import load

EVERYTHING = Path(__file__).parents[1] / "cases" / "manifest" / "everything.yaml"
MANIFEST: dict[str, Any] = yaml.safe_load(EVERYTHING.read_text())
ODD: list[Any] = [[], {}, None, "", True, -1, math.inf, "x" * 5000, [[]], [{}], {"a": 1}]
MORE = "boards: {qurna-01: {host: 192.0.2.14}}\n"


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to each value inside, itself included."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inside:
        yield from places(child, (*at, key))


def exchanged(at: tuple[Any, ...], value: Any) -> Any:
    """The manifest with another value in one place."""
    changed = copy.deepcopy(MANIFEST)
    around: Any = changed
    for key in at[:-1]:
        around = around[key]
    around[at[-1]] = value
    return changed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the manifest goes, beside what it includes."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "qurna.yaml").write_text(MORE)
    return tmp_path / "fleet.yaml"


def test_it_has_every_key_and_is_valid(path: Path) -> None:
    """A key that is new has to be written into it, or nobody takes it apart."""
    path.write_text(EVERYTHING.read_text())
    used = {key for at in places(MANIFEST) for key in at}

    assert "qurna-01" in load(path).boards
    assert set(keys_of(json_schema())) - used == set()


def keys_of(schema: Any) -> Iterator[str]:
    for key, inside in schema.items() if isinstance(schema, dict) else ():
        if key == "properties":
            yield from inside
        yield from keys_of(inside)
    for inside in schema if isinstance(schema, list) else ():
        yield from keys_of(inside)


@pytest.mark.parametrize("section", MANIFEST)
def test_another_value_in_any_place_is_taken_or_refused(section: str, path: Path) -> None:
    """A list for a mapping, nothing for something, too much: never an error of ours."""
    for at, value in every(3, list(itertools.product(places(MANIFEST[section], (section,)), ODD))):
        path.write_text(yaml.safe_dump(exchanged(at, value)))
        with contextlib.suppress(ManifestError):
            load(path)
