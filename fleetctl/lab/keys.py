"""The lab's own keys: one for the client, one for each board, and the known_hosts file that ties them."""

from collections.abc import Iterable
from pathlib import Path

from fleetctl.lab.state import LabFiles, LabState
from fleetctl.store import atomic_write


def ensure_key(path: Path, comment: str) -> None:
    """Make an ed25519 key pair at `path` (mode 0600) and `path.pub`, unless it is there."""
    import asyncssh

    if path.exists():
        return
    key = asyncssh.generate_private_key("ssh-ed25519", comment)
    atomic_write(public_half(path), key.export_public_key())
    atomic_write(path, key.export_private_key(), mode=0o600)


def public_half(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")


def ensure_keys(files: LabFiles, boards: Iterable[str]) -> None:
    """Make the client's key and the host key of each board that has none."""
    ensure_key(files.identity, "fleetctl lab")
    for board in boards:
        ensure_key(files.host_key(board), board)


def write_known_hosts(files: LabFiles, wanted: LabState) -> None:
    """Vouch for every virtual board's host key, under its present port."""
    lines = (_known_host(board.address, files.host_key(name)) for name, board in wanted.boards.items())
    atomic_write(files.known_hosts, "".join(lines))


def _known_host(address: str, host_key: Path) -> str:
    kind, key = public_half(host_key).read_text().split()[:2]
    return f"{address} {kind} {key}\n"
