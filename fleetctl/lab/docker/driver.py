"""The docker driver: the four things that can be done to a lab, done to containers."""

import contextlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetctl.errors import FleetError
from fleetctl.lab.docker import containers, images
from fleetctl.lab.docker.containers import ROOT_USER
from fleetctl.lab.docker.engine import engine
from fleetctl.lab.keys import ensure_keys, write_known_hosts
from fleetctl.lab.ports import LOOPBACK, free_ports
from fleetctl.lab.state import LabFiles, LabState, VirtualBoard, Wanted
from fleetctl.lab.up import Say, Up

NAME = "docker"
SERVE_PORT = 8091  # each board has a network of its own
ROOT = "/opt/fleetctl"
PYTHON = f"{ROOT}/venv/bin/python"

_BOOT_PATIENCE = 180.0  # seconds; an emulated board takes 20 when the machine is idle
_AT_ONCE = 8
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")  # 128 on an ordinary kernel
_INOTIFY_OF_MANY = 1024


def up(files: LabFiles, boards: Collection[Wanted], say: Say) -> Up:
    """Have a container for each of `boards`, beside those there are.

    Raises:
        ToolchainMissing: no engine, no base image, no emulation.
        FleetError: a board did not boot.
    """
    before = LabState.read(files.wanted) or LabState({}, driver=NAME)
    with engine() as client:
        existing = containers.of_lab(client, files)
        added = [wish for wish in boards if wish.name not in before.boards]
        wanted = _wish(files, before, added)
        wanted.write(files.wanted)  # first, so that `down` finds what a killed `up` left behind
        ensure_keys(files, wanted.boards)
        write_known_hosts(files, wanted)
        missing = {name: board for name, board in wanted.boards.items() if name not in existing}
        made = _create(client, files, missing, say)
        say(f"booting {len(wanted.boards)} boards")
        all_of_them = {**existing, **made}
        for container in all_of_them.values():
            container.start()
        _wait(wanted.boards, all_of_them)
    wanted.write(files.state)
    return Up(wanted, tuple(wish.name for wish in added), was_running=bool(existing) and not missing)


def down(files: LabFiles, *, keep: bool) -> int:
    """Remove every container of the lab and its network; with `keep`, only cut their power."""
    with engine() as client:
        found = containers.of_lab(client, files)
        for container in found.values():
            if keep:
                containers.cut_power(container)
            else:
                container.remove(force=True, v=True)
        if not keep:
            for network in client.networks.list(names=[_network_name(files)]):
                network.remove()
    files.state.unlink(missing_ok=True)
    return len(found)


def switch(files: LabFiles, state: LabState, boards: Collection[str], *, online: bool) -> LabState:
    """Cut or restore the power of boards."""
    with engine() as client:
        found = containers.of_lab(client, files)
        for name in boards:
            if online:
                found[name].start()
            else:
                containers.cut_power(found[name])
        if online:
            _wait({name: state.boards[name] for name in boards}, found)
    return status(files) or state


def status(files: LabFiles) -> LabState | None:
    """The lab with what the engine says of each board, or None where there is none."""
    state = LabState.read(files.state)
    if state is None:
        return None
    with engine() as client:
        found = containers.of_lab(client, files)
    boards = {name: _seen(board, found.get(name)) for name, board in state.boards.items()}
    return replace(state, boards=boards) if found else None


def _seen(board: VirtualBoard, container: Any) -> VirtualBoard:
    return replace(board, online=container is not None and container.status == "running")


def _wish(files: LabFiles, before: LabState, added: Collection[Wanted]) -> LabState:
    ports = free_ports(files.folder, {board.port for board in before.boards.values()})
    new = {wish.name: _new_board(wish, next(ports)) for wish in added}
    return replace(before, boards={**before.boards, **new}, driver=NAME)


def _new_board(wish: Wanted, port: int) -> VirtualBoard:
    account = "mendel" if wish.kind.startswith("coral-") else "pi"
    # Emulators do not honour setuid, so sudo cannot work: there the lab's key lets root in.
    emulated = wish.architecture != images.own_architecture()
    return VirtualBoard(
        host=LOOPBACK,
        port=port,
        user=ROOT_USER if emulated else account,
        root=ROOT,
        python=PYTHON,
        serve_port=SERVE_PORT,
        become=not emulated,
        service="systemd",
        architecture=wish.architecture,
        account=account,
    )


def _create(client: Any, files: LabFiles, boards: Mapping[str, VirtualBoard], say: Say) -> Mapping[str, Any]:
    if not boards:
        return {}
    needed = dict.fromkeys((board.architecture, board.account) for board in boards.values())
    image = {key: images.ensure(client, *key, say) for key in needed}
    network = _network_name(files)
    if not client.networks.list(names=[network]):
        client.networks.create(network, labels={containers.LAB_LABEL: containers.lab_id(files)})
    return {
        name: containers.create(client, files, name, board, image[board.architecture, board.account], network)
        for name, board in boards.items()
    }


def _network_name(files: LabFiles) -> str:
    return f"fleetctl-lab-{sha256(containers.lab_id(files).encode()).hexdigest()[:12]}"


def _wait(boards: Mapping[str, VirtualBoard], made: Mapping[str, Any]) -> None:
    """Until every board's sshd greets; `made` are their containers.

    Raises:
        ToolchainMissing: an emulated board cannot run here.
        FleetError: a board ended, or stays silent.
    """

    def booted(name: str) -> bool:
        return containers.wait_for_ssh(
            boards[name], _BOOT_PATIENCE, lambda: containers.is_running(made[name])
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        silent = [name for name, up in zip(boards, pool.map(booted, boards), strict=True) if not up]
    if silent:
        raise _why_silent(silent, boards[silent[0]], made[silent[0]])


def _why_silent(silent: list[str], board: VirtualBoard, container: Any) -> FleetError:
    """Of the first of the boards that did not boot; the others will not be different."""
    more = f" (and {len(silent) - 1} more)" if silent[1:] else ""
    if containers.is_running(container):
        return FleetError(
            f"{silent[0]} did not boot within {_BOOT_PATIENCE:.0f} s{more}",
            hint="`docker logs` of its container may say why; `fleetctl lab down` removes all",
        )
    said = containers.last_words(container)
    if "exec format error" in said:
        return images.no_emulation(board.architecture)
    return FleetError(
        f"{silent[0]} ended at once{more}: {said}",
        hint=f"`fleetctl lab down` removes all{_too_few_watches()}",
    )


def _too_few_watches() -> str:
    """What systemd dies of without a word: each board's takes six inotify instances of the one kernel."""
    with contextlib.suppress(OSError, ValueError):
        allowed = int(_INOTIFY.read_text())
        if allowed < _INOTIFY_OF_MANY:
            return (
                f"; systemd ends so where {_INOTIFY.name} allows no more: "
                f"it is {allowed}, and `sysctl -w fs.inotify.max_user_instances={_INOTIFY_OF_MANY}` raises it"
            )
    return ""
