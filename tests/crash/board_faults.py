"""Faults that kill nobody: networks that fail, full disks, flipped bits, clocks set back, two controllers.

They are made from outside a board: in its network namespace, in its files as this machine sees them.
"""

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from board_crashes import CONFIRM_TIMEOUT, KEPT, PATIENCE, Case, CrashLab
from msgspec.structs import replace

from fleetctl.lab.docker.driver import ROOT

MONTH = 30 * 86400.0  # seconds

_TOOLS = ("nsenter", "iptables", "tc")
_CUT = CONFIRM_TIMEOUT + 10  # seconds: long enough for ssh to give up, and for the board to go back
_DISK = 16 << 20  # bytes
_KEPT_ROOT = f"{ROOT}.kept"
_SMALL_DISK = f"""
set -e
mv {ROOT} {_KEPT_ROOT}
mkdir {ROOT}
mount -t tmpfs -o size={_DISK} tmpfs {ROOT}
cd {_KEPT_ROOT}
cp -a blobs releases state venv current {ROOT}
ln -s {_KEPT_ROOT}/environments {ROOT}/environments
systemctl restart fleetctl-serve
"""
_OWN_DISK = f"""
set -e
systemctl stop fleetctl-serve
umount -l {ROOT}
rmdir {ROOT}
mv {_KEPT_ROOT} {ROOT}
systemctl start fleetctl-serve
"""


def demand_network_tools() -> None:
    """Skip, and say why, where a board's network cannot be harmed."""
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent or os.geteuid() != 0:
        pytest.skip(f"networks are harmed as root, with {', '.join(absent or _TOOLS)}")


# network


def cut_network(lab: CrashLab, name: str, after: float) -> Case:
    """Every packet is dropped from some instant of a release on, for longer than the board waits."""
    order, before = lab.order(name), lab.current(name)
    since: list[float] = []

    def cut() -> None:
        since.append(time.monotonic())
        with dropping(lab, name, share=1.0):
            time.sleep(_CUT)

    timer = threading.Timer(after, cut)
    timer.start()
    lab.release(order, lab.line(name))
    timer.join()
    return lab.examine("network cut, at a random instant", name, order, {before}, since[0])


def lossy_network(lab: CrashLab, name: str, share: float) -> Case:
    return _release_under(lab, name, "10 to 30 % of packets dropped", dropping(lab, name, share))


def slow_network(lab: CrashLab, name: str, kilobits: int) -> Case:
    return _release_under(lab, name, "network slowed to 64 to 512 kbit/s", slowed(lab, name, kilobits))


@contextlib.contextmanager
def slowed(lab: CrashLab, name: str, kilobits: int) -> Iterator[None]:
    """Let a board send no more than that in a second."""
    shaping = ("rate", f"{kilobits}kbit", "burst", "16kb", "latency", "2s")
    _in_network(lab, name, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *shaping)
    try:
        yield
    finally:
        _in_network(lab, name, "tc", "qdisc", "del", "dev", "eth0", "root")


@contextlib.contextmanager
def dropping(lab: CrashLab, name: str, share: float) -> Iterator[None]:
    """Drop that share of packets, both ways."""
    rules = [
        (chain, way, "eth0", "-m", "statistic", "--mode", "random", "--probability", f"{share}", "-j", "DROP")
        for chain, way in (("INPUT", "-i"), ("OUTPUT", "-o"))
    ]
    for rule in rules:
        _in_network(lab, name, "iptables", "-w", "-A", *rule)
    try:
        yield
    finally:
        for rule in rules:
            _in_network(lab, name, "iptables", "-w", "-D", *rule)


def _in_network(lab: CrashLab, name: str, *argv: str) -> None:
    entered = ["nsenter", "--target", str(lab.init(name)), "--net", *argv]
    subprocess.run(entered, check=True, capture_output=True)


def _release_under(lab: CrashLab, name: str, fault: str, trouble: AbstractContextManager[None]) -> Case:
    """Order a release while the network is in trouble, and once more when it is not."""
    order, before, since = lab.order(name), lab.current(name), time.monotonic()
    with trouble:
        lab.release(order, lab.line(name))
    return lab.examine(fault, name, order, {before}, since)


# disk


@contextlib.contextmanager
def small_disk(lab: CrashLab, name: str) -> Iterator[Path]:
    """The board's root on a disk of 16 MiB; yields the root as this machine sees it."""
    lab.run_on(name, "sh", "-c", _SMALL_DISK)
    try:
        yield outside(lab, name)
    finally:
        lab.run_on(name, "sh", "-c", _OWN_DISK)


def outside(lab: CrashLab, name: str) -> Path:
    return Path(f"/proc/{lab.init(name)}/root{ROOT}")


def full_from_the_start(lab: CrashLab, name: str, root: Path, left: int) -> Case:
    """Only `left` bytes are free when a release comes."""
    return _full(lab, name, root, "disk full but for some KiB", threading.Timer(0, _fill, (root, left)))


def full_at_an_instant(lab: CrashLab, name: str, root: Path, after: float) -> Case:
    """The last byte of the disk is taken in the middle of a release."""
    filling = threading.Timer(after, _fill, (root, 0))
    return _full(lab, name, root, "disk filled, at a random instant", filling)


def _full(lab: CrashLab, name: str, root: Path, fault: str, filling: threading.Timer) -> Case:
    order, before, since = lab.order(name), lab.current(name), time.monotonic()
    filling.start()
    lab.release(order, lab.line(name))
    filling.join()
    seen = lab.look(name)  # while the disk is full
    (root / "filler").unlink(missing_ok=True)
    case = lab.examine(fault, name, order, {before}, since)
    return replace(case, wrong=(*(f"while full: {wrong}" for wrong in seen["wrong"]), *case.wrong))


def _fill(root: Path, left: int) -> None:
    """Take all of the disk but `left` bytes."""
    with contextlib.suppress(OSError), (root / "filler").open("ab", buffering=0) as filler:
        free = os.statvfs(root).f_bfree * os.statvfs(root).f_frsize
        remaining = max(0, free - left)
        while remaining > 0:
            remaining -= filler.write(bytes(min(remaining, 1 << 16)))
        while left == 0:  # what was freed meanwhile
            filler.write(bytes(4096))


# bits


def flip_on_the_way(lab: CrashLab, name: str, chance: random.Random) -> Case:
    """One bit of the blobs that are sent is another when they arrive."""
    order, before, since = lab.order(name), lab.current(name), time.monotonic()
    line = lab.line(name, spoil=lambda payload: _flipped(payload, chance) if payload else payload)
    lab.release(order, line)
    return lab.examine("bit flipped in a blob on the way", name, order, {before}, since)


def flip_at_rest(lab: CrashLab, name: str, chance: random.Random) -> Case:
    """One bit of a blob changes on the disk, and in every release that has it; the next order mends it."""
    order = lab.order(name)
    lab.release(order, lab.line(name))
    root = outside(lab, name)
    files = [path for path in sorted(root.glob("blobs/sha256/*")) if path.stat().st_size]
    path, since = chance.choice(files), time.monotonic()
    mode = path.stat().st_mode
    path.chmod(0o644)
    with path.open("r+b") as stream:  # in place: every hard link of it changes
        spoiled = _flipped(stream.read(), chance)
        stream.seek(0)
        stream.write(spoiled)
    path.chmod(mode)
    wrong = lab.converge(name, order)
    return Case("bit flipped in a blob at rest", name, time.monotonic() - since, tuple(wrong))


def _flipped(data: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(data)
    spoiled[chance.randrange(len(spoiled))] ^= 1 << chance.randrange(8)
    return bytes(spoiled)


# clock


def clock_set_back(lab: CrashLab, name: str, step: str) -> Case:
    """At a named step the date goes back by a month, for the board's script and its watcher.

    What was written before then lies in the future. Nothing can set back the clock of a container alone, so
    Python's clock is exchanged, and the dates of the files.
    """
    order = replace(lab.order(name), confirm_timeout=PATIENCE)  # a busy machine is no fault of the clock's
    before, since = lab.current(name), time.monotonic()
    for release in (outside(lab, name) / "releases").iterdir():
        os.utime(release, (time.time() + MONTH, time.time() + MONTH))
    reply = lab.release(order, lab.line(name, step=step, at_step=_SET_BACK))
    case = lab.examine("clock set back by a month, at a named step", name, order, {before}, since)
    if reply.data.get("state") not in KEPT:
        return replace(case, wrong=(f"at {step}: {reply.error or reply.data}", *case.wrong))
    return case


_SET_BACK = f"""
        import time
        now, parts = time.time, time.gmtime
        time.time = lambda: now() - {MONTH}
        time.gmtime = lambda seconds=None: parts(time.time() if seconds is None else seconds)
"""


# controllers


def two_at_once(lab: CrashLab, name: str, apart: float) -> Case:
    """Two controllers bring two releases to one board, the second a moment later."""
    before, since = lab.current(name), time.monotonic()
    first, second = lab.order(name), lab.order(name)
    other = threading.Timer(apart, lambda: lab.release(second, lab.line(name)))
    other.start()
    lab.release(first, lab.line(name))
    other.join()
    return lab.examine("two controllers at once", name, second, {before, first.release.digest}, since)
