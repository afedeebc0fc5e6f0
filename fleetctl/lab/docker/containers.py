"""One board, one container: how it is made, started, cut off and removed.

A container gets what systemd needs as PID 1 (SYS_ADMIN, the cgroup tree, no seccomp filter) and nothing like
`--privileged`: no device of this machine, and one port, on loopback.
"""

import io
import tarfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from fleetctl.lab.keys import public_half
from fleetctl.lab.ports import LOOPBACK
from fleetctl.lab.state import LabFiles, VirtualBoard

LAB_LABEL = "fleetctl.lab"
BOARD_LABEL = "fleetctl.board"
ROOT_USER = "root"
_SSH = 22
_BANNER = b"SSH-"
_POLL = 0.1  # seconds
_FIRST_USER = 1000  # the identifier of the first user that is added to Debian
_STOP_PATIENCE = 10  # seconds


def lab_id(files: LabFiles) -> str:
    """What tells this lab's containers from another's: the folder it lies in."""
    return str(files.folder)


def of_lab(client: Any, files: LabFiles) -> Mapping[str, Any]:
    """The lab's containers by board name, running or not."""
    found = client.containers.list(all=True, filters={"label": f"{LAB_LABEL}={lab_id(files)}"})
    return {container.labels[BOARD_LABEL]: container for container in found}


def create(client: Any, files: LabFiles, name: str, board: VirtualBoard, image: str, network: str) -> Any:
    """Make a board's container, with its host key and the lab's public key inside; not started yet."""
    container = client.containers.create(
        image,
        hostname=name,
        labels={LAB_LABEL: lab_id(files), BOARD_LABEL: name},
        cap_add=["SYS_ADMIN"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="host",
        volumes={"/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"}},
        tmpfs={"/run": "", "/run/lock": ""},
        environment={"container": "docker"},
        ports={f"{_SSH}/tcp": (LOOPBACK, board.port)},
        network=network,
        detach=True,
    )
    container.put_archive("/", _files_of(files, name, board.user))
    return container


def wait_for_ssh(board: VirtualBoard, patience: float, lives: Callable[[], bool] = lambda: True) -> bool:
    """Whether the board's sshd greets within `patience` seconds, and while the board `lives`."""
    import socket

    give_up = time.monotonic() + patience
    while time.monotonic() < give_up and lives():
        try:
            with socket.create_connection((LOOPBACK, board.port), timeout=2) as connection:
                if connection.recv(16).startswith(_BANNER):
                    return True
        except OSError:
            pass  # Docker's proxy takes connections before the board does
        time.sleep(_POLL)
    return False


def is_running(container: Any) -> bool:
    """Whether its first process lives, asked of the engine anew."""
    container.reload()
    return bool(container.status == "running")


def last_words(container: Any) -> str:
    """The last line that a container wrote before it ended."""
    lines = container.logs(tail=5).decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def cut_power(container: Any) -> None:
    """End every process of a board at once, as a pulled plug does."""
    if container.status == "running":
        container.kill()
        container.wait(timeout=_STOP_PATIENCE)


def _files_of(files: LabFiles, name: str, user: str) -> bytes:
    host_key = files.host_key(name)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        _add(archive, "etc/ssh/ssh_host_ed25519_key", host_key.read_bytes(), mode=0o600)
        _add(archive, "etc/ssh/ssh_host_ed25519_key.pub", public_half(host_key).read_bytes())
        if user == ROOT_USER:
            _add(archive, "root/.ssh/authorized_keys", public_half(files.identity).read_bytes(), mode=0o600)
            _add(archive, "etc/ssh/sshd_config.d/00-root.conf", b"PermitRootLogin prohibit-password\n")
        else:
            keys = f"home/{user}/.ssh/authorized_keys"
            _add(archive, keys, public_half(files.identity).read_bytes(), mode=0o600, owner=_FIRST_USER)
    return stream.getvalue()


def _add(archive: tarfile.TarFile, path: str, data: bytes, *, mode: int = 0o644, owner: int = 0) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, owner, owner
    archive.addfile(entry, io.BytesIO(data))
