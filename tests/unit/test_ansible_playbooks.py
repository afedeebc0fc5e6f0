"""The playbooks and plugins as plain Ansible sees them."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from fleetctl.manifest.schema import Board, BoardKind, VariantName
from fleetctl.transports.ansible import AnsibleTransport, shipped_playbooks
from fleetctl.transports.base import Reply, ReplyStatus
from fleetctl.transports.ssh import SshReader

PLAYBOOKS = shipped_playbooks()
MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: test}
models:
  quadrants: {task: classification, dataset: {kind: rendered}}
groups:
  canary: {boards: [luxor-01]}
  site-luxor: {match: {site: luxor}}
boards:
  luxor-01:
    {board: raspberrypi4, model: quadrants, host: 192.0.2.11, user: p, become: true, labels: {n: "{{ 7*7 }}"}}
  luxor-02: {board: generic, model: quadrants, host: luxor-02.example, port: 2222, labels: {site: luxor}}
  karnak-07: {board: coral-dev-board, model: quadrants, via: iothub}
"""


def ansible(*words: str | Path, cwd: Path = PLAYBOOKS) -> "subprocess.CompletedProcess[str]":
    """Run one of Ansible's own commands the way a person would, from the folder of playbooks."""
    argv = [sys.executable, "-m", "ansible", *map(str, words)]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"),
    }
    return subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "inventory" / "fleet.yaml"
    path.parent.mkdir()
    path.write_text(MANIFEST)
    return path


def test_a_manifest_is_an_inventory(manifest: Path) -> None:
    """Ansible sees every board it writes to, in its groups and one for its kind, and no templates."""
    done = ansible("inventory", "-i", manifest, "--list", cwd=manifest.parent)
    inventory = json.loads(done.stdout)

    assert "" == done.stderr
    assert {
        "canary": ["luxor-01"],
        "generic": ["luxor-02"],
        "raspberrypi4": ["luxor-01"],
        "site_luxor": ["luxor-02"],
    } == {name: group["hosts"] for name, group in inventory.items() if "hosts" in group}
    first, second = (inventory["_meta"]["hostvars"][name] for name in ("luxor-01", "luxor-02"))
    assert {"__ansible_unsafe": "{{ 7*7 }}"} == first["fleetctl_labels"]["n"]
    assert (True, {"__ansible_unsafe": "p"}) == (first["ansible_become"], first["ansible_user"])
    assert 2222 == second["ansible_port"]
    assert str(manifest.parent / "known_hosts") in second["ansible_ssh_common_args"]["__ansible_unsafe"]


def test_an_invalid_manifest_stops_ansible_with_the_place(manifest: Path) -> None:
    """Ansible never runs on half a manifest; the problem is told with file and line."""
    manifest.write_text(MANIFEST.replace("model: quadrants, host: 192", "model: quadrent, host: 192"))
    done = ansible("inventory", "-i", manifest, "--list", cwd=manifest.parent)

    assert done.returncode != 0
    assert "fleet.yaml:11:" in done.stderr
    assert "did you mean `quadrants`?" in done.stderr


def test_an_unbuilt_model_fails_the_task_with_the_command(manifest: Path) -> None:
    """A plain playbook says what is missing, as `fleetctl` would, and touches no board."""
    done = ansible(
        "playbook", "-i", manifest, PLAYBOOKS / "release.yml", "-l", "luxor-02", cwd=manifest.parent
    )

    assert 2 == done.returncode
    assert "run `fleetctl build quadrants`" in done.stdout


def test_the_module_documents_what_the_action_takes() -> None:
    """Every argument of the task is documented with its type and default, and nothing else is."""
    module, action = load("library"), load("action_plugins")
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]

    assert {name: shape(spec) for name, spec in action.ARGUMENTS.items()} == {
        name: shape(spec) for name, spec in documented.items()
    }


def shape(spec: dict[str, Any]) -> tuple[Any, ...]:
    return spec["type"], spec.get("default"), spec.get("choices")


def load(folder: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(folder, PLAYBOOKS / folder / "fleetctl_release.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def confirmed_by(playbook: str, tmp_path: Path, **settings: Any) -> Reply:
    """The reply for one board of a run of `playbook` in the place of confirm.yml."""
    (tmp_path / "confirm.yml").write_text(playbook)
    board = Board("luxor-01", BoardKind.GENERIC, "reader", VariantName.INT8, host="127.0.0.1", port=9)
    known_hosts = tmp_path / "known_hosts"
    transport = AnsibleTransport(SshReader(known_hosts, None), known_hosts, playbooks=tmp_path, **settings)
    (reply,) = transport.confirm([board], {"luxor-01": "0" * 64}, deadline=1.0)
    return reply


def test_a_run_that_never_speaks_of_a_board_is_its_failure(tmp_path: Path) -> None:
    """When Ansible cannot even read the playbook, every board is a failure that says why."""
    reply = confirmed_by("- hosts: all\n  tasks: [{no_such_module: }]\n", tmp_path)

    assert reply.status is ReplyStatus.FAILED
    assert "Ansible gave no result for it" in reply.error
    assert "no_such_module" in reply.error


def test_a_run_past_its_deadline_is_cancelled(tmp_path: Path) -> None:
    """Whatever Ansible is busy with, a board's reply comes when its time and the grace are over."""
    waiting = (
        "- hosts: all\n  gather_facts: false\n  connection: local\n  tasks: [{wait_for: {timeout: 60}}]\n"
    )
    reply = confirmed_by(waiting, tmp_path, grace=2.0)

    assert reply.status is ReplyStatus.TIMED_OUT
    assert "did not finish within the deadline" in reply.error


# Three tasks, so that each is left behind by a process of its own: Ansible, its worker, and what that runs.
AT_WORK = """
- hosts: all
  gather_facts: false
  connection: local
  tasks:
    - {command: touch begun, args: {chdir: "{{ playbook_dir }}"}}
    - {shell: sleep 2; touch went-on, args: {chdir: "{{ playbook_dir }}"}}
    - {command: touch went-on, args: {chdir: "{{ playbook_dir }}"}}
"""
CONFIRM = """
import sys
from pathlib import Path
from test_ansible_playbooks import AT_WORK, confirmed_by
confirmed_by(AT_WORK, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("times", [1, 3])
def test_an_interrupt_leaves_nothing_at_work(tmp_path: Path, times: int) -> None:
    """Ansible ends with whoever started it, its workers too, at once, and also for the impatient."""
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-c", CONFIRM, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path]), "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    _, said = process.communicate(timeout=30)
    left = list(tmp_path.glob("fleetctl-*"))
    time.sleep(3)

    assert (-signal.SIGINT, [], False) == (process.returncode, left, (tmp_path / "went-on").exists()), said


@pytest.mark.slow
def test_playbooks_pass_ansible_lint(tmp_path: Path, manifest: Path) -> None:
    """The playbooks satisfy ansible-lint's strictest profile, without a single exception."""
    argv = [sys.executable, "-m", "ansiblelint", "--offline", "--nocolor", "--profile", "production", "."]
    env = {
        **os.environ,
        "ANSIBLE_INVENTORY": str(manifest),
        "XDG_CACHE_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        argv, cwd=PLAYBOOKS, env=env, capture_output=True, text=True, timeout=300, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Passed" in done.stderr
