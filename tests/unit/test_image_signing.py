"""Module images in workflows: `artifacts images` lists them, `build` signs them, `rollout` demands it.

cosign is played by a program that writes down how it was called; what it says yes to needs Sigstore.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from git_fleet import GitFleet, say
from msgspec.structs import replace
from step_outputs import outputs
from workflow_expressions import Expressions
from workflow_runner import FOLDER

from fleetctl import lockfile
from fleetctl.lockfile import ModuleImage
from fleetctl.schemas import SCHEMAS

REGISTRY = "registry.example/temples/fleet"
DIGESTS = ("a" * 64, "b" * 64)
COSIGN = """\
#!/bin/sh
echo "$*" >> "$CALLS"
if [ "$1" = login ]; then cat > "$CALLS.secret"; fi
[ "$1" != "$FAILS" ]
"""


def lock_images(fleet: GitFleet, count: int) -> None:
    """As a build for boards over a hub would: an image for each platform."""
    path = fleet.root / "model_artifacts" / "fleet.lock"
    platforms = dict(zip(("linux/arm64", "linux/amd64"), DIGESTS, strict=True))
    images = {name: ModuleImage("c" * 64, digest, "debian", 1) for name, digest in platforms.items()}
    kept = dict(list(images.items())[:count])
    lockfile.write(path, replace(lockfile.read(path), images={"toy": {"int8": kept}} if kept else {}))


def step(workflow: str, name: str) -> dict[str, Any]:
    jobs = yaml.safe_load((FOLDER / f"{workflow}.yml").read_text())["jobs"].values()
    (found,) = (step for job in jobs for step in job.get("steps", []) if step.get("name") == name)
    assert isinstance(found, dict)
    return found


def run(found: dict[str, Any], folder: Path, fails: str = "") -> "subprocess.CompletedProcess[str]":
    """A step in bash as the runner starts it, with cosign played; its expressions filled in."""
    program = folder / "bin" / "cosign"
    program.parent.mkdir()
    program.write_text(COSIGN)
    program.chmod(0o755)
    contexts = {
        "github": {"actor": "ankh", "token": "papyrus", "repository": "temples/unas"}
        | {"server_url": "https://github.example"},
        "steps": {"images": {"outputs": {"registry": "registry.example"}}},
    }
    given = {key: Expressions(contexts).fill(value) for key, value in found.get("env", {}).items()}
    environment = {
        "FLEETCTL_REGISTRY_USER": "ankh",
        "FLEETCTL_REGISTRY_PASSWORD": "papyrus",
        "GITHUB_REPOSITORY": "temples/unas",
        **given,
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "FAILS": fails,
    }
    argv = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("count", [1, 2])
def test_every_image_is_listed_by_digest(
    fleet: GitFleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """One reference a line, nothing else on standard output; the same as checksums, and as JSON."""
    lock_images(fleet, count)
    monkeypatch.setenv("FLEETCTL_IOTHUB_REGISTRY", REGISTRY)
    said = say(capsys, "artifacts", "images", "--subjects", "images.sha256")
    as_json = say(capsys, "artifacts", "images", "-o", "json").json

    assert [f"{REGISTRY}@sha256:{digest}" for digest in sorted(DIGESTS[:count])] == sorted(
        said.out.splitlines()
    )
    assert sorted(f"{digest}  {REGISTRY}" for digest in DIGESTS[:count]) == sorted(
        Path("images.sha256").read_text().splitlines()
    )
    jsonschema.validate(as_json, SCHEMAS["fleetctl.images/v1"])
    assert count == len(as_json["images"])


def test_a_fleet_without_a_hub_has_no_images(
    fleet: GitFleet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Exit 0, an empty list, and the steps that sign and verify are passed over."""
    lock_images(fleet, 0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    said = say(capsys, "artifacts", "images")
    told = outputs((tmp_path / "out").read_text())

    assert (0, "") == (said.status, said.out)
    assert "the lock names no image" in said.err
    assert {"any": "false", "registry": ""} == told
    for workflow, name in (
        ("build", "Sign the images"),
        ("build", "Attest who built the images"),
        ("rollout", "Refuse images that the workflow `build` did not sign"),
    ):
        contexts = {"steps": {"images": {"outputs": told}}}
        assert not Expressions(contexts).condition(step(workflow, name)["if"])


def test_build_signs_what_it_made_and_nothing_that_was_committed(
    fleet: GitFleet, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A digest that somebody wrote into the lock of a branch is not the workflow's, whatever it names."""
    lock_images(fleet, 1)
    fleet.commit("An image from a desk")
    lock_images(fleet, 2)
    monkeypatch.setenv("FLEETCTL_IOTHUB_REGISTRY", REGISTRY)
    said = say(capsys, "artifacts", "images", "--new", "--subjects", "images.sha256")

    assert f"{REGISTRY}@sha256:{DIGESTS[1]}\n" == said.out
    assert f"{DIGESTS[1]}  {REGISTRY}\n" == Path("images.sha256").read_text()
    assert "images --new" in step("build", "List the images that were made here")["run"]
    assert "--new" not in step("rollout", "List the images")["run"]


def test_images_without_a_registry_are_a_usage_error(
    fleet: GitFleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody could say where the locked images are."""
    lock_images(fleet, 1)
    said = say(capsys, "artifacts", "images")

    assert 2 == said.status
    assert "nothing says where they are kept" in said.err


@pytest.mark.parametrize("count", [1, 2])
def test_build_signs_every_image(tmp_path: Path, count: int) -> None:
    """By digest, without a key and without a question; the password is on no command line."""
    images = [f"{REGISTRY}@sha256:{digest}" for digest in DIGESTS[:count]]
    (tmp_path / "images.txt").write_text("\n".join(images) + "\n")
    done = run(step("build", "Sign the images"), tmp_path)

    assert 0 == done.returncode, done.stderr
    assert [
        "login registry.example --username ankh --password-stdin",
        f"sign --yes {' '.join(images)}",
    ] == (tmp_path / "calls").read_text().splitlines()
    assert "papyrus\n" == (tmp_path / "calls.secret").read_text()


def test_rollout_demands_that_build_signed_them(tmp_path: Path) -> None:
    """By the workflow `build` of this very repository, with GitHub's word for it; a no stops the job."""
    images = [f"{REGISTRY}@sha256:{digest}" for digest in DIGESTS]
    (tmp_path / "images.txt").write_text("\n".join(images) + "\n")
    found = step("rollout", "Refuse images that the workflow `build` did not sign")
    done = run(found, tmp_path, fails="verify")
    _, verify = (tmp_path / "calls").read_text().splitlines()

    assert 0 != done.returncode
    assert verify.endswith(" ".join(images))
    for word in (
        "--certificate-oidc-issuer=https://token.actions.githubusercontent.com",
        r"--certificate-identity-regexp=^https://github.example/temples/unas/\.github/workflows/build\.yml@",
        "--certificate-github-workflow-repository=temples/unas",
    ):
        assert word in verify


def test_nothing_reaches_a_board_before_images_are_looked_at() -> None:
    """The refusal comes before the canary, and every other job waits for the canary."""
    jobs = yaml.safe_load((FOLDER / "rollout.yml").read_text())["jobs"]
    names = [step.get("name") for step in jobs["canary"]["steps"]]

    refusal = names.index("Refuse images that the workflow `build` did not sign")
    assert refusal < names.index("Roll out to the canary")
    assert all("needs" in job for key, job in jobs.items() if key != "canary")
