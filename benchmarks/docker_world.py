"""Docker boards with systemd as benchmarks use them: one is made fit by fleetctl, the others are its copies.

Each is an ssh server of its own behind a port on loopback, with a service user, an interpreter of its own and
sudo, as `fleetctl bootstrap` leaves a board. Installing the same wheels on fifty of them would take minutes.
"""

import contextlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import generic_board
from docker_boards import client_of_engine, container_of, lab_of
from quadrant_fleet import QuadrantFleet

from benchmarks.harness import NotMeasured, demand_memory
from fleetctl.lab.docker import containers, driver
from fleetctl.lab.keys import ensure_keys, write_known_hosts
from fleetctl.lab.overlay import reached_as
from fleetctl.lab.state import LabFiles, LabState, Wanted
from fleetctl.manifest.schema import Board
from fleetctl.project import Project
from fleetctl.transports.ansible import AnsibleTransport
from fleetctl.transports.ssh import SshReader

FIRST = "luxor-01"
AT_ONCE = 8  # commands to the engine
EACH_MB = 160  # of memory that a board with a service at work takes, and what it takes to release to it
EACH_WATCHES = 6  # inotify instances of a board's systemd
USAGE = (  # of a container's processors: version 1 of control groups, and version 2 by either driver
    "/sys/fs/cgroup/cpuacct/docker/{id}/cpuacct.usage",
    "/sys/fs/cgroup/docker/{id}/cpu.stat",
    "/sys/fs/cgroup/system.slice/docker-{id}.scope/cpu.stat",
)
FORGET = """
systemctl disable --now --quiet fleetctl-serve.service
rm -f /etc/systemd/system/fleetctl-serve.service /tmp/release.tar
systemctl daemon-reload
systemctl reset-failed
find /opt/fleetctl -mindepth 1 -maxdepth 1 ! -name venv ! -name environments ! -name state -exec rm -rf {} +
find /opt/fleetctl/state -mindepth 1 ! -name compiled -delete
test -x /opt/fleetctl/venv/bin/python && test -f /opt/fleetctl/state/compiled
"""


@contextlib.contextmanager
def fit_board(folder: Path, architecture: str) -> Iterator[QuadrantFleet]:
    """A fleet of one docker board that can take releases; the board is gone afterwards.

    Raises:
        NotMeasured: there is no engine, or no image to boot; says why.
    """
    made = QuadrantFleet.make(folder)
    manifest = folder / "inventory" / "fleet.yaml"
    lines = manifest.read_text().splitlines()
    kept = [line for line in lines if not line.strip().startswith(("luxor-02:", "karnak"))]
    manifest.write_text("\n".join(kept) + "\n")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lab_of(made, architecture))
        except pytest.skip.Exception as reason:
            raise NotMeasured(str(reason)) from None
        fitted = made.run("bootstrap", patience=900)
        if fitted.status:
            raise RuntimeError(f"the board could not be made fit: {fitted.err[-500:]}")
        yield made


class DockerWorld:
    """Some docker boards, and the transport that reaches them."""

    def __init__(self, client: Any, fleet: QuadrantFleet, image: str) -> None:
        self._client, self._image = client, image
        self.files = LabFiles.of(Project(fleet.root / "inventory" / "fleet.yaml"))
        reader = SshReader(self.files.known_hosts, self.files.identity)
        self.transport = AnsibleTransport(reader, self.files.known_hosts, self.files.identity)

    def boards(self, count: int) -> list[Board]:
        """So many boards, those there are among them.

        Raises:
            NotMeasured: the machine has too little memory for them, or its kernel too few inotify instances.
        """
        demand_memory(f"{count} docker boards", count * EACH_MB)
        demand_watches(count)
        before = LabState.read(self.files.wanted)
        assert before is not None
        names = [f"copy-{number:02d}" for number in range(count)]
        self._add(before, [name for name in names if name not in before.boards])
        state = LabState.read(self.files.state)
        assert state is not None
        return [reached_as(generic_board(name), state.boards[name]) for name in names]

    def _add(self, before: LabState, names: Sequence[str]) -> None:
        wanted = driver._wish(self.files, before, [Wanted(name, architecture="amd64") for name in names])
        wanted.write(self.files.wanted)  # first, so that `lab down` finds them
        ensure_keys(self.files, wanted.boards)
        write_known_hosts(self.files, wanted)
        new = {name: wanted.boards[name] for name in names}
        network = driver._network_name(self.files)
        made = {
            name: containers.create(self._client, self.files, name, board, self._image, network)
            for name, board in new.items()
        }
        for container in made.values():
            container.start()
        driver._wait(new, made)
        wanted.write(self.files.state)

    def processor_seconds(self) -> float:
        """What all boards took of all processors since they were started.

        Raises:
            NotMeasured: their control groups cannot be seen from here.
        """
        return sum(map(_processor_seconds, containers.of_lab(self._client, self.files).values()))

    def forget(self) -> None:
        """Every board without a release, its service and its history gone."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(_forget, containers.of_lab(self._client, self.files).values()))


@contextlib.contextmanager
def docker_world(folder: Path) -> Iterator[DockerWorld]:
    """A world of amd64 boards, which is gone afterwards.

    Raises:
        NotMeasured: there is no engine, or no image to boot; says why.
    """
    with contextlib.ExitStack() as stack:
        fleet = stack.enter_context(fit_board(folder, "amd64"))
        client = stack.enter_context(client_of_engine())
        first = container_of(client, fleet, FIRST)
        _do(first, ": > /etc/machine-id")
        image = first.commit().id
        stack.callback(client.images.remove, image, force=True)
        world = DockerWorld(client, fleet, image)
        stack.callback(
            lambda: [each.remove(force=True) for each in containers.of_lab(client, world.files).values()]
        )
        yield world


def demand_watches(boards: int, record: Path = Path("/proc/sys/fs/inotify/max_user_instances")) -> None:
    """Raise `NotMeasured` where systemd on so many boards would end without a word."""
    with contextlib.suppress(OSError, ValueError):  # not Linux: the engine has a machine of its own
        allowed = int(record.read_text())
        if allowed < EACH_WATCHES * boards:
            raise NotMeasured(
                f"{boards} docker boards take {EACH_WATCHES * boards} inotify instances, "
                f"and {allowed} are allowed: "
                "`sysctl -w fs.inotify.max_user_instances=1024`"
            )


def _processor_seconds(container: Any) -> float:
    """By the kernel: where systemd in a board has moved its processes, engines have been seen to say 0."""
    for place in USAGE:
        path = Path(place.format(id=container.id))
        if path.exists():
            words = path.read_text().split()
            return int(words[0]) / 1e9 if len(words) == 1 else int(words[words.index("usage_usec") + 1]) / 1e6
    raise NotMeasured("the control groups of the engine's containers are not where they are looked for")


def _forget(container: Any) -> None:
    _do(container, FORGET)


def _do(container: Any, script: str) -> None:
    done = container.exec_run(["sh", "-c", script])
    if done.exit_code:
        raise RuntimeError(f"{container.name}: {done.output.decode(errors='replace')[-300:]}")
