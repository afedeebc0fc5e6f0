"""`fleetctl build` for boards via iothub: images per model and processor, pushed once, locked by digest."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from base_images import FILES, little_wheelhouse, publish, rootfs
from registry import running_registry
from toy_build import ToyStages, toy_photos

from fleetctl import lockfile
from fleetctl.build.builder import build
from fleetctl.cli import main
from fleetctl.errors import LockStale
from fleetctl.lockfile import FleetLock, ModuleImage
from fleetctl.manifest.loader import load
from fleetctl.project import Project
from fleetctl.remotes.base import BlobMissing
from fleetctl.remotes.oci import OciRemote
from fleetctl.transports.iothub_images import LockedImages

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 6}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1}
  karnak-01: {board: raspberrypi5, model: toy, via: iothub}
  karnak-02: {board: raspberrypi4, model: toy, via: iothub, attached: usb}
  unas-01: {board: generic, model: toy, via: iothub}
iothub: {registry: REGISTRY/team/fleet, base: "REGISTRY/base:1"}
"""

Said = Callable[..., tuple[int, Any, str]]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as at:
        publish(OciRemote(f"oci://{at}/base"), "1", {each: rootfs(FILES) for each in ("amd64", "arm64")})
        yield at


@pytest.fixture
def project(tmp_path: Path, registry: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A built fleet whose boards are reached over a hub, all but one."""
    path = tmp_path / "inventory" / "fleet.yaml"
    toy_photos(path.parent)
    path.write_text(MANIFEST.replace("REGISTRY", registry))
    made = Project(path)
    build(load(path), made, stages=ToyStages())
    little_wheelhouse(made.state / "wheelhouse")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        status = main([*words, "-o", "json"])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


def test_images_are_made_once_and_locked(project: Project, said: Said, registry: str) -> None:
    """One for each processor, however many boards; a second build makes nothing, and asks nobody."""
    status, data, err = said("build")
    locked = lockfile.read(project.lockfile).images["toy"]["int8"]
    remote = OciRemote(f"oci://{registry}/team/fleet")

    assert (0, True, {"linux/amd64", "linux/arm64"}) == (status, data["lock_changed"], set(locked))
    assert 2 == err.count("✓ module image of toy int8 for linux/")
    assert all(remote.manifest(f"sha256:{image.digest}") for image in locked.values())
    assert all(f"{registry}/base:1@sha256:" in image.base for image in locked.values())

    for file in (project.manifest, project.lockfile):  # in one alone, the base would be another
        file.write_text(file.read_text().replace(registry, "127.0.0.1:9"))
    locked = lockfile.read(project.lockfile).images["toy"]["int8"]
    status, data, err = said("build")
    assert (0, False) == (status, data["lock_changed"]), err
    assert [False, False] == [each["built"] for each in data["images"]["toy"]["int8"].values()]
    assert locked == lockfile.read(project.lockfile).images["toy"]["int8"]
    assert 0 == said("build", "--check")[0]


def test_images_are_made_anew_when_told(project: Project, said: Said) -> None:
    """`--images` makes them whatever the lock says, and what is the same keeps its digest."""
    said("build")
    before = lockfile.read(project.lockfile)
    status, data, err = said("build", "--images")

    assert (0, False) == (status, data["lock_changed"]), err
    assert [True, True] == [each["built"] for each in data["images"]["toy"]["int8"].values()]
    assert before == lockfile.read(project.lockfile)


def test_images_from_another_base_are_made(project: Project, said: Said, registry: str) -> None:
    """Without a word of `--images`: the manifest asks for it."""
    publish(OciRemote(f"oci://{registry}/other"), "1", {each: rootfs(FILES) for each in ("amd64", "arm64")})
    said("build")
    project.manifest.write_text(project.manifest.read_text().replace("/base:1", "/other:1"))
    status, data, err = said("build")

    assert (0, True) == (status, data["lock_changed"]), err
    assert [True, True] == [each["built"] for each in data["images"]["toy"]["int8"].values()]
    assert 0 == said("build", "--check")[0]


def test_what_the_lock_lacks_is_said(project: Project, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` names the image that is missing; a build that may not push says why it makes none."""
    status, _, err = said("build", "--check")
    assert (11, True) == (status, "no module image of toy int8 for linux/arm64, as karnak-01 needs it" in err)
    assert "hint: `fleetctl build` makes it" in err

    monkeypatch.setenv("FLEETCTL_ARTIFACTS_READ_ONLY", "1")
    status, data, err = said("build")
    assert (0, {}) == (status, data["images"])
    assert "no module images are made: FLEETCTL_ARTIFACTS_READ_ONLY is set" in err

    monkeypatch.delenv("FLEETCTL_ARTIFACTS_READ_ONLY")
    project.manifest.write_text(project.manifest.read_text().partition("iothub: {")[0])
    status, data, err = said("build")
    assert (0, {}) == (status, data["images"])
    assert "nothing says where they go" in err


def test_images_leave_the_lock_with_their_boards(project: Project, said: Said) -> None:
    """A processor that no board has any more, and a fleet without a hub, keep no images in the lock."""
    said("build")
    text = project.manifest.read_text()
    project.manifest.write_text(text.replace("  unas-01: {board: generic, model: toy, via: iothub}\n", ""))
    said("build")
    assert ["linux/arm64"] == list(lockfile.read(project.lockfile).images["toy"]["int8"])

    without = [line for line in text.splitlines() if "via: iothub" not in line]
    project.manifest.write_text("\n".join([*without, ""]))
    status, data, _ = said("build")
    assert (0, True) == (status, data["lock_changed"])
    assert {} == lockfile.read(project.lockfile).images
    assert '"images"' not in project.lockfile.read_text()


@pytest.mark.parametrize(
    ("old", "new", "status", "says"),
    [
        ("/base:1", "/base:2", 20, "there is no image "),
        (
            ', base: "REGISTRY/base:1"',
            "",
            2,
            "have no Edge TPU library, and these boards want one: karnak-02",
        ),
        (
            "board: generic, model: toy",
            "board: generic, model: toy, runtime: {machine: armv7l}",
            10,
            "no module image is made for a 32-bit system",
        ),
    ],
)
def test_what_cannot_be_made_leaves_the_lock_as_it_was(
    project: Project, said: Said, registry: str, old: str, new: str, status: int, says: str
) -> None:
    """A base that is not there, or lacks a library; a board that no image is for: said by number."""
    text = project.manifest.read_text()
    old, new = (each.replace("REGISTRY", registry) for each in (old, new))
    assert old in text
    project.manifest.write_text(text.replace(old, new))
    before = project.lockfile.read_bytes()
    code, _, err = said("build")

    assert (status, True) == (code, says in err), err
    assert before == project.lockfile.read_bytes()


def images_of(remote: OciRemote, said: list[str], content: str = "c" * 64) -> LockedImages:
    image = ModuleImage(content, "d" * 64, "base", 1)
    return LockedImages(
        FleetLock({}, {"toy": {"int8": {"linux/arm64": image}}}), "r/fleet", remote, said.append
    )


def test_a_rollout_takes_what_was_locked(registry: str) -> None:
    """What the lock does not have, or the registry lost, is refused by name before anything is written."""
    said: list[str] = []
    consignment: Any = SimpleNamespace(image_digest="c" * 64)
    images = images_of(OciRemote(f"oci://{registry}/team/fleet"), said)
    with pytest.raises(LockStale, match="no module image for linux/amd64"):
        images.ensure(consignment, lambda _: b"", "x86_64")
    with pytest.raises(BlobMissing, match="does not have the module image sha256:dddddddddddd") as error:
        images.ensure(consignment, lambda _: b"", "aarch64")

    assert (20, []) == (error.value.exit_code, said)


def test_a_registry_that_cannot_be_asked_is_said(registry: str) -> None:
    """A machine that may reach the hub and not the registry rolls out all the same, aloud."""
    del registry
    said: list[str] = []
    away = OciRemote("oci://127.0.0.1:9/team/fleet", pause=lambda _: None)
    consignment: Any = SimpleNamespace(image_digest="c" * 64)

    assert f"r/fleet@sha256:{'d' * 64}" == images_of(away, said).ensure(consignment, lambda _: b"", "aarch64")
    assert ["whether the module image is there cannot be seen from here: "] == [each[:60] for each in said]
