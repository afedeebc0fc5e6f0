"""Whole fleets: what is written is what is loaded, whatever the style of the YAML."""

import fnmatch
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from strategies import documents, to_yaml

from fleetctl.manifest import plain_fleet
from fleetctl.manifest.explain import explain
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board, Fleet

relaxed = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
few = settings(relaxed, max_examples=20)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def load_text(folder: Path, text: str) -> Fleet:
    path = folder / "fleet.yaml"
    path.write_text(text, "utf-8")
    return load(path)


def seconds(text: str) -> float:
    unit = text.lstrip("0123456789. ")
    return float(text.removesuffix(unit)) * UNITS[unit]


def overlaid(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: overlaid(base.get(key), over[key]) if key in over else base[key] for key in base | over}
    return over


def members(document: dict[str, Any], group: dict[str, Any]) -> list[str]:
    kind = group.get("match", {"board": ""})["board"]
    return [
        name
        for name, board in document["boards"].items()
        if name in group.get("boards", []) or fnmatch.fnmatchcase(board["board"], kind)
    ]


def merged(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A board's settings by the words of the manual: defaults, then groups in order, then the board."""
    layers = [document.get("defaults", {})]
    layers += [group for group in document["groups"].values() if name in members(document, group)]
    result: dict[str, Any] = {}
    for layer in [*layers, document["boards"][name]]:
        for key, value in layer.items():
            if key not in ("boards", "match"):
                deep = key in ("labels", "config", "runtime")
                result[key] = overlaid(result.get(key, {}), value) if deep else value
    return result


@relaxed
@given(documents(), st.randoms(use_true_random=False))
def test_a_board_is_the_sum_of_its_layers(tmp_path: Path, document: dict[str, Any], random: Random) -> None:
    """Every setting of every board is that of the last layer that has it."""
    fleet = load_text(tmp_path, to_yaml(document, random))

    assert list(fleet.boards) == list(document["boards"])
    for name, board in fleet.boards.items():
        expected = merged(document, name)
        actual = to_builtins(board)
        assert {key: actual[key] for key in expected} == expected
        defaults = to_builtins(Board(name=name, board=board.board, model=board.model, variant=board.variant))
        untouched = actual.keys() - expected.keys() - {"groups", "variant", "accelerator"}
        assert {key: actual[key] for key in untouched} == {key: defaults[key] for key in untouched}


@relaxed
@given(documents(), st.randoms(use_true_random=False))
def test_groups_and_rollout_are_as_written(tmp_path: Path, document: dict[str, Any], random: Random) -> None:
    """Groups have their members in board order; waves, soaks and deadlines keep order and value."""
    fleet = load_text(tmp_path, to_yaml(document, random))

    assert fleet.name == document["metadata"]["name"]
    assert {name: list(found) for name, found in fleet.groups.items()} == {
        name: members(document, group) for name, group in document["groups"].items()
    }
    rollout = document.get("rollout", {"waves": [{"percent": 100}]})
    waves = [
        (wave.get("group"), wave.get("percent"), seconds(wave.get("soak", "0s"))) for wave in rollout["waves"]
    ]
    assert [(wave.group, wave.fraction) for wave in fleet.rollout.waves] == [
        (group, None if percent is None else percent / 100) for group, percent, _ in waves
    ]
    assert [wave.soak for wave in fleet.rollout.waves] == pytest.approx([soak for _, _, soak in waves])
    assert fleet.rollout.deadline == pytest.approx(seconds(rollout.get("deadline", "300s")))


@relaxed
@given(documents(), st.randoms(use_true_random=False))
def test_boards_run_a_variant_that_fits(tmp_path: Path, document: dict[str, Any], random: Random) -> None:
    """A derived variant is built by the model, and is `edgetpu` only where an accelerator may be used."""
    for board in load_text(tmp_path, to_yaml(document, random)).boards.values():
        built = document["models"][board.model]["variants"]
        assert board.variant in built
        assert (board.variant == "edgetpu") == (board.accelerator != "none" and "edgetpu" in built)


@few
@given(documents(), st.randoms(use_true_random=False), st.randoms(use_true_random=False))
def test_style_means_nothing(tmp_path: Path, document: dict[str, Any], one: Random, other: Random) -> None:
    """The same data in another YAML style is the same fleet but for its digest."""
    fleets = [load_text(tmp_path, to_yaml(document, random)) for random in (one, other)]

    assert len({repr((f.boards, f.groups, f.models, f.rollout)) for f in fleets}) == 1


@few
@given(documents(), st.randoms(use_true_random=False))
def test_explain_names_the_line_that_says_it(
    tmp_path: Path, document: dict[str, Any], random: Random
) -> None:
    """The line that `explain` names begins with the setting's key, or holds it in flow style."""
    text = to_yaml(document, random)
    fleet = load_text(tmp_path, text)
    lines = text.splitlines()
    for name, board in fleet.boards.items():
        explained = explain(tmp_path / "fleet.yaml", name)
        assert {s.key.split(".")[0] for s in explained} == to_builtins(board).keys() - {"name", "groups"}
        for setting in explained:
            if setting.line and setting.key.isascii() and setting.key.replace("_", "").isalpha():
                assert setting.key in lines[setting.line - 1]


def settings_of(fleet: Fleet) -> list[Any]:
    boards = [getattr(board, name) for board in fleet.boards.values() for name in Board.__struct_fields__]
    return [*boards, *(value for board in fleet.boards.values() for value in board.config.values())]


@relaxed
@given(documents(), st.randoms(use_true_random=False))
def test_a_fleet_survives_being_kept(tmp_path: Path, document: dict[str, Any], random: Random) -> None:
    """What `load_to_look` keeps of an unchanged manifest is the fleet to the last type: 60 is not 60.0."""
    fleet = load_text(tmp_path, to_yaml(document, random))
    text = plain_fleet.to_text(fleet)
    assert text is not None
    kept = plain_fleet.from_text(text)

    assert fleet == kept
    assert text == plain_fleet.to_text(kept)
    assert [type(value) for value in settings_of(fleet)] == [type(value) for value in settings_of(kept)]
