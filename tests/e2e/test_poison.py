"""Secrets put wherever secrets come from turn up nowhere: not in files, output, arguments or on boards."""

import base64
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from poison import Search
from published import Said
from quadrant_fleet import QuadrantFleet

from fleetctl.lab.state import LabFiles

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("poison"),
    pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into other processes through /proc"),
]

PASSPHRASE = "correct horse battery staple 8261"
TOKENS = {  # what a person or a CI job may have in the environment while fleetctl runs
    name: f"poison-{number:04d}-{name.lower()}"
    for number, name in enumerate(
        ("ANSIBLE_BECOME_PASSWORD", "GITHUB_TOKEN", "IOTHUB_CONNECTION_STRING", "SSHPASS", "UV_PUBLISH_TOKEN")
    )
}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for temporary files whose path is short enough for ssh's sockets."""
    folder = Path(tempfile.mkdtemp(prefix="p", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fleet(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuadrantFleet]:
    """A fleet that signs, with a secret in every place that one may come from."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("FLEETCTL_SIGNING_PASSPHRASE", PASSPHRASE)
    for name, value in TOKENS.items():
        monkeypatch.setenv(name, value)
    made = QuadrantFleet.make(tmp_path / "fleet")
    try:
        yield made
    finally:
        made.run("lab", "down")


def private_key(path: Path) -> bytes:
    """A line from the middle of a private key's PEM: it stands for the key."""
    lines = path.read_bytes().splitlines()
    return lines[len(lines) // 2]


def test_secrets_turn_up_nowhere(
    fleet: QuadrantFleet, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key, its passphrase, an ssh key and tokens: every verb, good and failing, leaves no trace of them."""
    said: list[Said] = []

    def run(*words: str) -> int:
        said.append(fleet.run(*words))
        return said[-1].status

    pem = tmp_path / "config" / "fleetctl" / "quadrants-release.pem"
    assert run("keys", "new") == 0
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 30s\n  signing: required")
    monkeypatch.setenv("FLEETCTL_SIGNING_KEY", pem.read_text())
    assert run("lab", "up") == 0
    ssh_key = LabFiles(fleet.root / ".fleetctl" / "lab").identity
    secrets = {name: value.encode() for name, value in TOKENS.items()}
    secrets |= {"the signing key": private_key(pem), "its passphrase": PASSPHRASE.encode()}
    secrets["the ssh key"] = private_key(ssh_key)
    search = Search(
        secrets,
        [fleet.root, temporary],
        boards=fleet.root / ".fleetctl" / "lab",
        root=fleet.root,
        ours=frozenset({"the signing key", "its passphrase"}),
    )
    with search.watching():
        assert [0, 0] == [run("bootstrap"), run("build", "--check")]
        assert run("plan", "--save", str(fleet.root / "plan.json")) == 1
        assert run("rollout", "--yes", "--plan", str(fleet.root / "plan.json")) == 0
        fleet.mix_up_labels()
        assert run("rollout", "--yes") == 40
        fleet.git("revert", "--no-edit", "HEAD")
        for verb in ("status", "smoke", "history", "logs", "validate"):
            run(verb, *(["--output", "json"] if verb != "validate" else []))
        run("render", "luxor-01")
        run("exec", "--yes", "env")
        run("rollback", "--yes", "--on", "luxor-01")
        monkeypatch.setenv("FLEETCTL_SIGNING_PASSPHRASE", "wrong " + PASSPHRASE)
        assert run("rollout", "--yes") == 31
        monkeypatch.setenv("FLEETCTL_SIGNING_KEY", "not a path: " + pem.read_text().splitlines()[1])
        assert run("rollout", "--yes") == 31
    for done in said:
        search.look_in((done.out + done.err).encode(), "what a command said")

    assert {f"the ssh key in {ssh_key}"} == search.found  # where it is at home, and the search found it
    assert {"environment of a board's process", "environment of Ansible"} <= search.looked_at
    assert {
        "file work.json",
        "file receipt.json",
        "file fleet.lock",
        "file history.jsonl",
    } <= search.looked_at


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    """The control: a secret in a file, in arguments, in a board's environment, in disguise."""
    secret = "poison of the control"
    folder, boards = tmp_path / "files", tmp_path / "boards"
    folder.mkdir()
    search = Search({"it": secret.encode()}, [folder], boards, tmp_path, frozenset({"it"}))
    search.look()
    assert set() == search.found

    waiting = ["sh", "-c", "echo; read answer"]
    marked = {**os.environ, "POISON": secret, "HOME": str(boards)}
    inherited = {**os.environ, "POISON": secret}
    started = [
        (waiting, marked),
        ([*waiting, secret], dict(os.environ)),
        ([*waiting, str(tmp_path)], inherited),
    ]
    for argv, environment in started:
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout
            process.stdout.readline()
            search.look()
            process.kill()
    (folder / "plain").write_text(f"it is {secret}, it is")
    (folder / "base64").write_bytes(base64.b64encode(f"user:{secret}:".encode()))
    (folder / "url").write_text(quote(secret))
    search.look()
    with search.watching():
        (folder / "passing").write_text(secret)
        time.sleep(0.3)
        (folder / "passing").unlink()

    places = [place.split(" in ", 1)[1] for place in search.found]
    assert 7 == len(places)
    for name in ("plain", "base64", "url", "passing"):
        assert str(folder / name) in places
    assert {"arguments", "environment"} < {place.split()[0] for place in places}
