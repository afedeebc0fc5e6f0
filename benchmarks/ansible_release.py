"""A release to many boards at once through Ansible, against 20 plain `ssh` commands in parallel that do less.

The floor is what a careful shell script does, `by_hand.py`. All ways are tried on fresh virtual boards, whose
own work (python starting, the model loading) is on the same processors: boards of the process lab with a
model of 1.7 kB, and docker boards with systemd and a model as large as the usual reader, where pyinfra does
what the floor does too.
"""

import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from contract_worlds import REPOSITORY, LabWorld, Releases, by_board
from msgspec.structs import replace

from benchmarks import by_hand, unlearnt
from benchmarks.docker_world import DockerWorld, docker_world
from benchmarks.harness import Result, Samples, a_board, after, against, interleave, part, versus
from benchmarks.pyinfra_peer import Pyinfra, installed
from benchmarks.shares import shares_of
from fleetctl.desired import holding_of
from fleetctl.lab import control
from fleetctl.lab.state import LabFiles
from fleetctl.manifest.schema import Board, Smoke
from fleetctl.observing import observe
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates
from fleetctl.store import BlobStore
from fleetctl.transports.base import Order, Transport

BOARDS, MORE, MORE_DOCKER = 20, 100, 50
ROUNDS, ROUNDS_OF_MORE = 3, 2
SLOWEST, NO_SLOWER, GROWTH = (
    1.5,
    1.0,
    1.1,
)  # times the floor; times pyinfra; times what a board of fewer takes
FLOOR = "parallel ssh, tar, link, start"
RESTARTED = "parallel ssh, tar, link, restart, is-active"
ANSWERS = "the same until each service answers"
PYINFRA = "pyinfra doing that by its operations"
COLD, CONFIG = "cold release", "another threshold"
SENT = "/tmp/release.tar"  # noqa: S108 - on a board, which removes it with the release
PATIENCE = 300.0  # seconds that a board has for each thing
ENVIRONMENTS = REPOSITORY / ".fleetctl" / "peers"


class World(Protocol):
    """Boards, and how they are reached."""

    files: LabFiles

    @property
    def transport(self) -> Transport: ...


def measure() -> Iterator[Result]:
    yield from part("process lab", _process_lab)
    yield from part("docker boards", _docker_boards)


def release(world: World, orders: Sequence[Order]) -> None:
    """What a rollout does with a wave: look at the boards, then release, prove and confirm."""
    seen = observe(world.transport, [order.board for order in orders], deadline=PATIENCE)
    informed = [replace(order, holding=holding_of(seen[order.board.name])) for order in orders]
    replies = by_board(world.transport.release(informed))
    states = {reply.data.get("state", reply.error) for reply in replies.values()}
    if len(replies) < len(orders) or states - {"confirmed", "unchanged"}:
        raise RuntimeError(f"not every board proved its release: {states}")


def _process_lab() -> Iterator[Result]:
    """Each way on boards that nobody released to; then the same boards with nothing, or little, to do."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as folder:
        world = LabWorld(Path(folder))
        releases = Releases(BlobStore(Path(folder) / "store"))
        try:
            samples = _on_process_boards(world, releases)
        finally:
            control.down(world.files, keep=False)
    label = f"{BOARDS} boards, "
    goals = {COLD: SLOWEST, "the same release, proved again": None, CONFIG: None}
    yield from against(samples, FLOOR, goals, label=label)
    samples[label + COLD] = samples[COLD]
    yield from a_board(samples, {label + COLD: BOARDS, f"{MORE} boards, {COLD}": MORE}, goal=GROWTH)


def _on_process_boards(world: LabWorld, releases: Releases) -> Samples:
    orders: list[Order] = []

    def fresh(count: int) -> None:
        world.retire()
        orders[:] = [patient(releases.order(board)) for board in world.boards(count)]

    def config() -> None:
        release(world, [patient(releases.order(order.board, threshold=0.6)) for order in orders])

    ways = {
        FLOOR: after(
            lambda: fresh(BOARDS), lambda: by_hand.release(world.files, orders, by_hand.spawn_and_wait)
        ),
        COLD: after(lambda: fresh(BOARDS), lambda: release(world, orders)),
        "the same release, proved again": lambda: release(world, orders),
        CONFIG: config,
    }
    many = {f"{MORE} boards, {COLD}": after(lambda: fresh(MORE), lambda: release(world, orders))}
    return {**interleave(ways, ROUNDS), **interleave(many, ROUNDS_OF_MORE)}


def _docker_boards() -> Iterator[Result]:
    with tempfile.TemporaryDirectory(prefix="fleetctl-bench-") as name:
        folder = Path(name)
        ordering = _orders_of_the_usual_size(folder)
        with docker_world(folder / "fleet") as world:
            yield from _few_docker_boards(world, ordering, folder)
            yield from part(f"{MORE_DOCKER} docker boards", lambda: _more_docker_boards(world, ordering))


def _few_docker_boards(world: DockerWorld, ordering: "Ordering", folder: Path) -> Iterator[Result]:
    orders = ordering(world.boards(BOARDS), 0.5)
    others = ordering([order.board for order in orders], 0.6)
    peer: dict[str, Pyinfra] = {}
    absent = list(part(f"{BOARDS} docker boards, {PYINFRA}", lambda: _have(peer, folder)))

    def by(start: by_hand.Start) -> Callable[[], None]:
        return lambda: by_hand.release(world.files, orders, start)

    ways = {
        RESTARTED: after(world.forget, by(by_hand.restart)),
        ANSWERS: after(world.forget, by(by_hand.restart_and_wait)),
        **{
            name: after(world.forget, _through(pyinfra, world, orders, folder))
            for name, pyinfra in peer.items()
        },
        COLD: after(world.forget, lambda: release(world, orders)),
        CONFIG: lambda: release(world, others),
    }
    label = f"{BOARDS} docker boards, "
    samples = interleave(ways, ROUNDS)
    goals = {COLD: SLOWEST}
    yield from against(
        samples, RESTARTED, {name: goals.get(name) for name in ways if name != RESTARTED}, label=label
    )
    yield versus(samples, COLD, ANSWERS, None, label=label)
    if peer:
        yield versus(samples, COLD, PYINFRA, NO_SLOWER, label=label)
    yield from absent
    floor, cold = by(by_hand.restart_and_wait), lambda: release(world, orders)
    yield from part(f"{label}processor time", lambda: _whose_time(world, floor, cold, label=label))


def _whose_time(
    world: DockerWorld, floor: Callable[[], None], cold: Callable[[], None], *, label: str
) -> Iterator[Result]:
    """Where the seconds of a cold release go, and what would be left without Ansible."""
    world.forget()
    least = shares_of(world, floor)
    world.forget()
    taken = shares_of(world, cold)
    yield Result(f"{label}{ANSWERS}, processor time", round(least.total, 1), "s")
    for whose, seconds in (
        ("of the boards", taken.boards),
        ("of Ansible and its ssh", taken.children),
        ("of fleetctl", taken.own),
    ):
        yield Result(f"{label}{COLD}, processor time {whose}", round(seconds, 1), "s")
    rest = taken.boards + taken.own
    ratio = round(rest / least.total, 2)
    name = f"{label}{COLD}, processor time without Ansible and its ssh"
    yield Result(name, round(rest, 1), "s", f"{ANSWERS}, processor time", ratio)


def _more_docker_boards(world: DockerWorld, ordering: "Ordering") -> Iterator[Result]:
    """Whether a board takes longer among more; the fewer are some of them, and both take turns."""
    orders = ordering(world.boards(MORE_DOCKER), 0.5)
    sizes = {f"{count} docker boards, {COLD}": count for count in (BOARDS, MORE_DOCKER)}

    def way(count: int) -> Callable[[], None]:
        return lambda: release(world, orders[:count])

    samples = interleave(
        {name: after(world.forget, way(count)) for name, count in sizes.items()}, ROUNDS_OF_MORE
    )
    yield from a_board(samples, sizes, goal=GROWTH)


def _have(peer: dict[str, Pyinfra], folder: Path) -> Iterator[Result]:
    """Nothing to state, unless it cannot be had."""
    peer[PYINFRA] = installed(ENVIRONMENTS, folder)
    yield from ()


def _through(
    pyinfra: Pyinfra, world: DockerWorld, orders: Sequence[Order], folder: Path
) -> Callable[[], None]:
    hosts = {}
    for order in orders:
        board, tar = order.board, folder / f"{order.board.name}.tar"
        tar.write_bytes(by_hand.tar_of(order))
        hosts[board.name] = {
            "ssh_hostname": board.host,
            "ssh_port": board.port,
            "ssh_user": board.user,
            "ssh_key": str(world.files.identity),
            "ssh_known_hosts_file": str(world.files.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "tar": str(tar),
            "sent": SENT,
            "unpack": f"sh -c {shlex.quote(by_hand.unpack(board))}",
            "root": board.root,
            "unit": by_hand.UNIT,
            "wait": by_hand.wait(board),
        }
    return lambda: pyinfra.play(hosts)


Ordering = Callable[[Sequence[Board], float], list[Order]]


def _orders_of_the_usual_size(folder: Path) -> Ordering:
    """Makes orders for a model as large as the usual reader, which is proved by sixteen samples."""
    store, artifact = unlearnt.keep(folder)
    renderer = Renderer(packaged_templates(), board_runtime())

    def ordering(boards: Sequence[Board], threshold: float) -> list[Order]:
        wanted = [replace(board, config={"threshold": threshold}) for board in boards]
        smoke = Smoke(samples=unlearnt.SAMPLES)
        releases = [renderer.keep(board, artifact, smoke, store) for board in wanted]
        return [
            patient(Order(board, made, store.root, "c0ffee", 0, 0))
            for board, made in zip(wanted, releases, strict=True)
        ]

    return ordering


def patient(order: Order) -> Order:
    """The same order for a machine that is slow: what is measured must not end by itself."""
    return replace(order, confirm_timeout=PATIENCE, deadline=PATIENCE)
