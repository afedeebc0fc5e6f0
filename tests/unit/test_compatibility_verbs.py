"""The verbs where a board cannot load its release: what is shown, what is refused, and how they exit."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from git_fleet import Fleetctl, say
from msgspec.structs import replace
from published import published
from toy_build import ToyStages, toy_fleet, toy_model

from fleetctl import lockfile
from fleetctl.build.builder import build
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.verdict import demand_compatible
from fleetctl.desired import desired_orders
from fleetctl.errors import Incompatible
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import VariantName
from fleetctl.project import Project

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy: {task: classification, dataset: {kind: folder, path: photos}, variants: [int8], smoke: {samples: 6}}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1}
  saqqara-01: {board: coral-dev-board, model: toy, host: 192.0.2.2}
  saqqara-02: {board: coral-dev-board, model: toy, host: 192.0.2.3}
"""
TOO_NEW = Requirements.of({"CONV_2D": 3, "FULLY_CONNECTED": 10}, [], None)
WHY = "needs TFLite 2.11 for FULLY_CONNECTED version 10, has 2.5 (tflite-runtime 2.5 of Mendel 5)"
FIX = "convert with TensorFlow 2.15.1, so that FULLY_CONNECTED stays at version 9 or lower"


@pytest.fixture
def fleetctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Fleetctl:
    """Runs a command line in a fleet of simulated boards, two of which are too old for what is locked."""
    manifest = tmp_path / "inventory" / "fleet.yaml"
    (manifest.parent / "photos").mkdir(parents=True)
    (manifest.parent / "photos" / "000000_G17.png").write_bytes(b"photo")
    manifest.write_text(MANIFEST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    project = Project(manifest)
    build(load(manifest), project, stages=ToyStages())
    lock_needs(project, TOO_NEW)

    return partial(say, capsys)


def lock_needs(project: Project, needs: Requirements) -> None:
    """Have the lock say what the toy model needs, as a build of a real one does."""
    lock = lockfile.read(project.lockfile)
    toy = lock.models["toy"]
    variants = {name: replace(variant, requires=needs) for name, variant in toy.variants.items()}
    lockfile.write(project.lockfile, lockfile.FleetLock({"toy": replace(toy, variants=variants)}))


def test_a_plan_shows_the_refused_and_the_others(fleetctl: Fleetctl) -> None:
    """Refused boards stand in the table with the reason, what to do below it, and exit 21 says so."""
    planned = fleetctl("plan")

    assert 21 == planned.status
    assert WHY in planned.out
    assert f"saqqara-01, saqqara-02: {FIX}" in planned.out
    assert "1 of 3 boards would change (1 install) in 1 wave" in planned.out
    assert "2 boards refused, unable to load their releases" in planned.out


def test_a_plan_for_machines(fleetctl: Fleetctl) -> None:
    """In JSON a refused board carries its reasons and fixes, and counts as nothing to send."""
    plan: Any = published(fleetctl("plan", "-o", "json").out)
    boards = {board["board"]: board for wave in plan["waves"] for board in wave["boards"]}

    assert ("refused", [WHY], [FIX], 0) == tuple(
        boards["saqqara-01"][key] for key in ("action", "reasons", "fixes", "send_bytes")
    )
    assert "install" == boards["luxor-01"]["action"]


def test_a_plan_for_pull_requests(fleetctl: Fleetctl) -> None:
    """The comment says what to do as well."""
    assert f"| saqqara-01, saqqara-02 | {FIX} |" in fleetctl("plan", "-o", "markdown").out


def test_a_rollout_touches_nothing(fleetctl: Fleetctl) -> None:
    """One board that could not load its release keeps all from being written to, and the fix is named."""
    rolled = fleetctl("rollout", "--yes")

    assert 21 == rolled.status
    assert f"saqqara-01 could not load its release: it {WHY} (and 1 more boards); nothing was changed" in (
        rolled.err
    )
    assert f"{FIX}; or leave out with --on '!saqqara-01,!saqqara-02'" in rolled.err
    assert "3 install" not in fleetctl("plan").out
    assert "luxor-01" in fleetctl("plan").out


def test_leaving_them_out_rolls_out_to_the_others(fleetctl: Fleetctl) -> None:
    """Boards that are not selected keep nobody from a release."""
    assert 0 == fleetctl("rollout", "--yes", "--on", "!saqqara-*").status
    assert 0 == fleetctl("plan", "--on", "!saqqara-*").status


def test_a_saved_plan_keeps_the_fixes(fleetctl: Fleetctl) -> None:
    """What was saved is refused as what was planned would be."""
    fleetctl("plan", "--save", "plan.json")

    assert [FIX] == json.loads(Path("plan.json").read_text())["waves"][0]["boards"][1]["fixes"]
    assert 21 == fleetctl("rollout", "--yes", "--plan", "plan.json").status


def test_a_lock_that_does_not_say_refuses_nobody(fleetctl: Fleetctl) -> None:
    """A lock from before requirements were recorded is read, and boards prove the release as ever."""
    lock = Path("model_artifacts/fleet.lock")
    document = json.loads(lock.read_text())
    del document["models"]["toy"]["variants"]["int8"]["requires"]
    lock.write_text(json.dumps(document))

    assert 1 == fleetctl("plan").status


def test_the_lock_shows_reviewers_the_versions(fleetctl: Fleetctl) -> None:
    """A converter that makes newer operations is a line in the pull request."""
    assert fleetctl("plan").status == 21

    assert '"FULLY_CONNECTED": 10' in Path("model_artifacts/fleet.lock").read_text()


def test_what_runs_where(fleetctl: Fleetctl) -> None:
    """A row for each kind of board, a column for each variant, and the reason below."""
    shown = fleetctl("models", "compatible", "toy")
    rows = {line.split("  ")[0]: line.split()[-2:] for line in shown.out.splitlines() if line}

    assert 0 == shown.status
    assert (["no", "(1)"], "ok") == (rows["coral-dev-board"], rows["raspberrypi4"][-1])
    assert "int8 needs TFLite 2.11" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 100


def test_what_runs_where_for_machines(fleetctl: Fleetctl) -> None:
    """The same as JSON, one entry for each board and variant."""
    document: Any = published(fleetctl("models", "compatible", "toy", "-o", "json").out)
    (mini,) = [entry for entry in document["boards"] if entry["board"] == "coral-dev-board-mini"]

    assert ("fleetctl.compatible/v1", "2.11") == (document["schema"], document["variants"]["int8"]["tflite"])
    assert (False, "tflite", FIX) == (mini["ok"], mini["refusals"][0]["rule"], mini["refusals"][0]["fix"])


def test_what_is_still_to_be_compiled_is_left_out(fleetctl: Fleetctl) -> None:
    """Nobody knows yet what it will need; where each of the others runs is told all the same."""
    manifest = Path("inventory/fleet.yaml")
    wanted = "variants: [int8, edgetpu], edgetpu: {compile: ci}"
    manifest.write_text(MANIFEST.replace("variants: [int8]", wanted))
    build(load(manifest), Project(manifest), stages=ToyStages())
    lock = lockfile.read(Project(manifest).lockfile)
    variants = lock.models["toy"].variants
    pending = replace(variants["edgetpu"], edgetpu=lockfile.Pending(0.75))
    toy = replace(
        lock.models["toy"], variants={"int8": replace(variants["int8"], requires=TOO_NEW), "edgetpu": pending}
    )
    lockfile.write(Project(manifest).lockfile, lockfile.FleetLock({"toy": toy}))

    shown = fleetctl("models", "compatible", "toy", "-o", "json")

    assert ["int8"] == list(published(shown.out)["variants"])
    assert "without edgetpu, which is pending" in shown.err


def test_an_unknown_model(fleetctl: Fleetctl) -> None:
    """The models there are come with the refusal."""
    said = fleetctl("models", "compatible", "tou")

    assert (2, "hint: it has toy") == (said.status, said.err.splitlines()[1])


def test_plain_ansible_is_refused_too(fleetctl: Fleetctl) -> None:
    """`release.yml` gets no order for a board whose kind could not load the release."""
    assert fleetctl("validate").status == 0
    project = Project(Path("inventory/fleet.yaml"))
    fleet = load(project.manifest)

    assert ["luxor-01"] == [
        order.board.name for order in desired_orders(project, fleet, ["luxor-01"], "c0ffee", {})
    ]
    with pytest.raises(Incompatible, match=r"saqqara-01: needs TFLite 2\.11"):
        desired_orders(project, fleet, ["saqqara-01"], "c0ffee", {})


def test_a_build_can_be_held_against_the_fleet(tmp_path: Path) -> None:
    """Boards that are alike are told together, and the error has every fix."""
    fleet, _ = toy_fleet(tmp_path, toy_model(variants=(VariantName.INT8,)))
    (name,) = list(fleet.boards)[:1]
    board = replace(fleet.boards[name], runtime={"tflite": "tflite-runtime==2.5.0", "python": "3.9"})
    old = replace(fleet, boards={f"old-{i}": replace(board, name=f"old-{i}") for i in range(5)})

    demand_compatible(fleet, {board.model: {"int8": TOO_NEW}})
    with pytest.raises(Incompatible) as refused:
        demand_compatible(old, {board.model: {"int8": TOO_NEW}})

    assert refused.value.message.startswith("old-0, old-1, old-2 and 2 more: needs TFLite 2.11 for FULLY")
    assert refused.value.hint.startswith("install tflite-runtime 2.14 or convert with TensorFlow 2.15.1")
