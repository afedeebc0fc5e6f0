"""`fleetctl build --changed`: what a pipeline has to build."""

import json
from pathlib import Path

import jsonschema
import pytest
from git_fleet import GitFleet
from msgspec.structs import replace
from step_outputs import outputs

from fleetctl import lockfile
from fleetctl.cli import main
from fleetctl.images.fleet_images import wanted_images
from fleetctl.lockfile import ModuleImage
from fleetctl.manifest.loader import load
from fleetctl.project import Project
from fleetctl.render.renderer import Renderer
from fleetctl.schemas import SCHEMAS

HUB = "iothub: {registry: registry.example/temples/fleet}\n"
BASED = "iothub: {{registry: registry.example/temples/fleet, base: '{}'}}\n"
DIGEST = "a" * 64  # of a base
OVER_SSH = "board: raspberrypi5, model: toy, host: 192.0.2.3"


def test_models_that_the_lock_does_not_describe_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is built; GitHub gets a list for a matrix, and a word to skip it by."""
    fleet = GitFleet.make(tmp_path)
    monkeypatch.chdir(fleet.root)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    assert 0 == main(["build", "--changed", "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, SCHEMAS["fleetctl.changed/v1"])
    none, before = said["models"], outputs((tmp_path / "outputs").read_text())
    fleet.edit("samples: 6", "samples: 7")
    assert 0 == main(["build", "--changed", "-o", "json"])
    said = json.loads(capsys.readouterr().out)
    jsonschema.validate(said, SCHEMAS["fleetctl.changed/v1"])
    one, told = said["models"]["toy"], outputs((tmp_path / "outputs").read_text())

    assert {} == none
    assert "its recipe or its data changed since it was built" == one["why"]
    assert [{"model": "toy", "inputs": one["inputs"]}] == json.loads(told["matrix"])
    assert {"any": "true", "models": "toy"} == {name: told[name] for name in ("any", "models")}
    assert {"matrix": "[]", "any": "false", "models": "", "images": "false"} == before
    assert 2 == main(["build", "--changed", "--check"])


@pytest.fixture
def over_hub(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> GitFleet:
    """A fleet whose model is locked, with one board over a hub; in a step of a workflow."""
    fleet = GitFleet.enter(tmp_path_factory, tmp_path, monkeypatch)
    fleet.manifest.write_text(fleet.manifest.read_text() + HUB)
    fleet.edit(OVER_SSH, "board: raspberrypi5, model: toy, via: iothub")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    return fleet


def told_of_changes(tmp_path: Path) -> dict[str, str]:
    assert 0 == main(["build", "--changed"])
    return outputs((tmp_path / "outputs").read_text())


def lock_images(fleet: GitFleet) -> None:
    """As a build would: an image of what each board over a hub needs."""
    project, loaded = Project(fleet.manifest), load(fleet.manifest)
    lock = lockfile.read(project.lockfile)
    wanted = wanted_images(loaded, lock, list(loaded.boards), Renderer.of(project.templates))
    images = {
        each.platform: ModuleImage(each.content, "d" * 64, f"{each.base}@sha256:{DIGEST}", 1)
        for each in wanted
    }
    lockfile.write(project.lockfile, replace(lock, images={"toy": {"int8": images}}))


def test_the_first_board_over_a_hub_needs_an_image_though_no_model_changed(
    over_hub: GitFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Told apart from models, for nothing is to be trained; and as `build --check` sees it, both ways."""
    first, said = told_of_changes(tmp_path), capsys.readouterr().err
    assert 0 == main(["build", "--changed", "-o", "json"])
    data = json.loads(capsys.readouterr().out)
    refused = main(["build", "--check"])
    lock_images(over_hub)

    jsonschema.validate(data, SCHEMAS["fleetctl.changed/v1"])
    assert [{"model": "toy", "variant": "int8", "platform": "linux/arm64"}] == data["images"]
    assert ("false", "true", 11) == (first["any"], first["images"], refused)
    assert "module image of toy int8 for linux/arm64 not made yet" in said
    assert "false" == told_of_changes(tmp_path)["images"]
    assert 0 == main(["build", "--check"])


def test_another_processor_needs_an_image_of_its_own(over_hub: GitFleet, tmp_path: Path) -> None:
    """A board of a kind that is there needs none; one with another processor does."""
    lock_images(over_hub)
    over_hub.edit(
        "board: raspberrypi4, model: toy, host: 192.0.2.2", "board: raspberrypi4, via: iothub, model: toy"
    )
    same = told_of_changes(tmp_path)
    over_hub.edit(
        "board: raspberrypi4, model: toy, host: 192.0.2.1", "board: generic, model: toy, via: iothub"
    )
    other = told_of_changes(tmp_path)

    assert ["false", "true"] == [same["images"], other["images"]]
    assert "false" == other["any"]


def test_another_fleetctl_needs_images_anew(
    over_hub: GitFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board's part of fleetctl is in the image: with other files in it, the lock's image is of no use."""
    lock_images(over_hub)
    monkeypatch.setattr(
        "fleetctl.render.renderer.board_runtime", lambda: {"fleetctl_board.py": b"of the next version"}
    )
    told = told_of_changes(tmp_path)

    assert ("false", "true") == (told["any"], told["images"])


def test_another_base_needs_images_anew(
    over_hub: GitFleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the manifest says of it is what boards get; by tag or by digest, it is the same base."""
    lock_images(over_hub)
    over_hub.edit(HUB, BASED.format("debian.example/python:3.11"))
    other = told_of_changes(tmp_path)["images"]
    capsys.readouterr()
    refused, said = main(["build", "--check"]), capsys.readouterr().err
    lock_images(over_hub)
    same = told_of_changes(tmp_path)["images"], main(["build", "--check"])

    assert ("true", 11, ("false", 0)) == (other, refused, same)
    assert "for linux/arm64 from debian.example/python:3.11, as karnak-01 needs it" in said
    for digest, missing in ((DIGEST, "false"), ("b" * 64, "true")):
        text = over_hub.manifest.read_text()
        line = BASED.format(f"debian.example/python:3.11@sha256:{digest}")
        over_hub.manifest.write_text("".join([*text.splitlines(keepends=True)[:-1], line]))
        assert missing == told_of_changes(tmp_path)["images"]


def test_images_that_nobody_could_make_are_not_asked_for(over_hub: GitFleet, tmp_path: Path) -> None:
    """Where nothing says where they go, a job that makes them would have nothing to commit."""
    over_hub.edit(HUB, "")

    assert "false" == told_of_changes(tmp_path)["images"]
