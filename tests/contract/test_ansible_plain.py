"""The playbooks under plain `ansible-playbook`, from a manifest in a folder, on real boards' software."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract_worlds import LABELS, LabWorld, Releases, observed
from signatures import KEY

from fleetctl.bootstrap.boards import Trust
from fleetctl.build.inputs import model_inputs
from fleetctl.lockfile import FleetLock, LockedModel, LockedVariant, Metrics, write
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board
from fleetctl.project import Project
from fleetctl.signing.trusted_keys import add_trusted_key
from fleetctl.store import BlobStore
from fleetctl.transports.ansible import shipped_playbooks
from fleetctl.transports.orders import Preparation

pytestmark = pytest.mark.e2e


def a_fleet(folder: Path, board: Board, known_hosts: Path) -> Project:
    """A fleet of one board whose model is built and locked."""
    document = {
        "apiVersion": "fleetctl/v1",
        "kind": "Fleet",
        "metadata": {"name": "plain"},
        "models": {
            "quadrants": {
                "task": "classification",
                "dataset": {"kind": "rendered"},
                "smoke": {"samples": len(LABELS)},
            }
        },
        "boards": {
            board.name: {
                "board": "generic",
                "model": "quadrants",
                "host": board.host,
                "port": board.port,
                "user": board.user,
                "python": board.python,
                "root": board.root,
                "service": "process",
                "serve_port": board.serve_port,
            }
        },
    }
    project = Project(folder / "inventory" / "fleet.yaml")
    project.inventory.mkdir()
    project.manifest.write_text(json.dumps(document))
    project.known_hosts.write_bytes(known_hosts.read_bytes())
    for template in (shipped_playbooks().parent / "inventory" / "templates").iterdir():
        project.templates.mkdir(exist_ok=True)
        (project.templates / template.name).write_bytes(template.read_bytes())
    lock_built(project)
    return project


def lock_built(project: Project) -> None:
    fleet = load(project.manifest)
    artifact = Releases(BlobStore(project.store)).artifact()
    _, digest = model_inputs(fleet.models["quadrants"], fleet, project)
    metrics = Metrics(samples=4, top1=1.0, drop=0.0, worst_class=None, size=1704)
    locked = LockedModel(digest, {}, {"int8": LockedVariant(artifact, metrics)})
    write(project.lockfile, FleetLock({"quadrants": locked}))


def play(project: Project, lab: LabWorld, playbook: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """`ansible-playbook` as a person calls it."""
    argv = [
        *(sys.executable, "-m", "ansible", "playbook", "-i", str(project.manifest)),
        *("--private-key", str(lab.files.identity), f"{shipped_playbooks()}/{playbook}", *words),
    ]
    env = {**os.environ, "ANSIBLE_CONFIG": str(shipped_playbooks() / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        argv, cwd=project.root, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_plain_ansible_releases_and_rolls_back(lab: LabWorld, tmp_path: Path) -> None:
    """With Ansible's own command alone a board gets its release, keeps it, and goes back to another."""
    (board,) = lab.boards(1)
    project = a_fleet(tmp_path, board, lab.files.known_hosts)
    first = play(project, lab, "release.yml", "-l", board.name)
    again = play(project, lab, "release.yml")
    one = observed(lab, board)["current"]
    project.manifest.write_text(
        project.manifest.read_text().replace('"root":', '"config": {"threshold": 0.9}, "root":')
    )
    second = play(project, lab, "release.yml")
    two = observed(lab, board)["current"]
    back = play(project, lab, "rollback.yml", "-e", '{"fleetctl_reason": "it was better"}')
    stayed = play(project, lab, "rollback.yml")
    refused = play(project, lab, "rollback.yml", "-e", f"fleetctl_release={'0' * 64}")

    assert [0, 0, 0, 0, 2] == [done.returncode for done in (first, again, second, back, refused)], back.stdout
    assert "changed=1" in first.stdout
    assert "changed=0" in again.stdout
    assert "changed=0" in stayed.stdout
    assert "unknown-release" in refused.stdout or "no longer on this board" in refused.stdout
    assert one != two
    assert (project.state / "playbook.lock").exists()  # it filled the store while nobody could prune it
    seen = observed(lab, board)
    assert one == seen["current"] == seen["good"]
    assert ["it was better"] == seen["receipt"]["reasons"]
    assert "WARNING" not in first.stderr + first.stdout
    lab.retire()


def test_plain_ansible_trusts_only_the_inventory(lab: LabWorld, tmp_path: Path) -> None:
    """A host key that is not in the inventory leaves the board alone, and says how to accept it."""
    (board,) = lab.boards(1)
    project = a_fleet(tmp_path, board, lab.files.known_hosts)
    project.known_hosts.write_text("")
    done = play(project, lab, "release.yml")

    assert 4 == done.returncode, done.stdout
    assert "UNREACHABLE" in done.stdout
    assert f"ssh-keyscan -p {board.port} 127.0.0.1 >> {project.known_hosts}" in done.stdout
    assert observed(lab, board)["current"] is None
    lab.retire()


def test_plain_ansible_signs_where_the_manifest_asks_for_it(
    lab: LabWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the key nothing is sent; with it a board that demands a signature takes the release."""
    (board,) = lab.boards(1)
    project = a_fleet(tmp_path, board, lab.files.known_hosts)
    document = json.loads(project.manifest.read_text())
    project.manifest.write_text(json.dumps({**document, "rollout": {"signing": "required"}}))
    add_trusted_key(project.trust, "release", KEY.public)
    for words in (
        ("init", "--quiet"),
        ("add", "inventory", "model_artifacts/fleet.lock"),
        ("commit", "-qm", "Start"),
    ):
        who = ("-c", "user.name=test", "-c", "user.email=test@fleet.invalid", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *who, *words], cwd=project.root, check=True)
    trust = Trust("plain", (KEY.public.pem,)).request(board.name)
    asked = Preparation({"user": "", "udev": False, "wheels": {}, "proof": "", **trust})
    list(lab.ansible.prepare([board], {board.name: asked}, deadline=60.0))

    without = play(project, lab, "release.yml")
    assert (without.returncode, "no key to sign with" in without.stdout) == (2, True), without.stdout
    assert observed(lab, board)["current"] is None

    monkeypatch.setenv("FLEETCTL_SIGNING_KEY", KEY.to_pem("").decode())
    signed = play(project, lab, "release.yml")
    assert (signed.returncode, observed(lab, board)["trust"]["serial"]) == (0, 1), signed.stdout
    lab.retire()
