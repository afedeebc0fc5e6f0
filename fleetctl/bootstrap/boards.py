"""What each board said of itself, and what is to be made of it.

What a board says is untrusted: it decides which wheels are fetched, so its words have to be in the list.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetctl.bootstrap.wheelhouse import Platform, packages_for, request_of
from fleetctl.manifest.schema import Accelerator, Board, ServiceManager
from fleetctl.transports import board_script
from fleetctl.transports.orders import Preparation

SERVICE_USER = "fleetctl"
ENVIRONMENT = "venv/bin/python"  # under a board's root: the interpreter that bootstrap makes

MACHINES = ("x86_64", "aarch64", "armv7l")
MIN_FREE = 300 << 20  # bytes: the environment, three releases, and logs
MAX_SKEW = 60.0  # seconds between a board's clock and ours

_KEEP_TIME = "let it keep time (`timedatectl set-ntp true`, with a server that it can reach)"
_PYTHONS = range(7, 20)  # of Python 3


class Check(Struct, frozen=True):
    """One thing that has to be so before a board is changed."""

    name: str
    ok: bool
    detail: str
    hint: str = ""


def platform_of(said: Mapping[str, Any]) -> Platform | None:
    """The platform that a board describes, if it is one that could be."""
    machine, python, glibc = said.get("machine"), _version(said.get("python")), _version(said.get("glibc"))
    if machine not in MACHINES or python is None or glibc is None:
        return None
    if python[0] != 3 or python[1] not in _PYTHONS or glibc[0] != 2 or not 0 < glibc[1] < 100:
        return None
    return Platform(str(machine), python, glibc)


class Trust(Struct, frozen=True):
    """The keys (PEM) whose signature the boards of a fleet are to demand; none: leave whom they trust."""

    fleet: str = ""
    keys: tuple[str, ...] = ()

    def request(self, board: str) -> dict[str, Any]:
        """The part of the request `prepare` that is about it."""
        if not self.keys:
            return {}
        return {"trust": {"fleet": self.fleet, "board": board, "keys": list(self.keys)}}


NOBODY = Trust()


def exposure_of(said: Mapping[str, Any]) -> float | None:
    """How exposed a board says its service is, from 0 to 10; None where it does not say so."""
    score = said.get("exposure")
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 10:
        return None
    return float(score)


def checks(
    board: Board, said: Mapping[str, Any], trust: Trust = NOBODY, now: float | None = None
) -> list[Check]:
    """Whether a board can be prepared at all."""
    words = said.get("machine"), _dotted(said.get("python")), _dotted(said.get("glibc"))
    found = [
        Check(
            "platform",
            platform_of(said) is not None,
            "{}, Python {}, glibc {}".format(*words),
            "boards are Linux with glibc on x86_64, aarch64 or armv7l, and have Python 3.7 or later",
        ),
        _room(said, made=_is_made(said)),
        _clock(said.get("clock"), time.time() if now is None else now),
    ]
    if not manages_environment(board):
        found.append(_own_interpreter(board.python, said.get("platform")))
    elif not _is_made(said):
        venv = said.get("venv") is not False
        found.append(
            Check("venv", venv, "python3 makes environments with it", "install the package python3-venv")
        )
    if board.accelerator is Accelerator.REQUIRED:
        found.append(_edge_tpu_library(said.get("libedgetpu")))
    if trust.keys:
        openssl = said.get("openssl") is True
        found.append(Check("openssl", openssl, "it verifies signatures", "install the package openssl"))
    if board.service is ServiceManager.SYSTEMD:
        systemd, root = said.get("systemd") is True, said.get("root") is True
        found.append(Check("systemd", systemd, "it runs the service", "or say `service: process`"))
        found.append(Check("root", root, "changes need it", "say `become: true`, or log in as root"))
    return found


def look(board: Board, unit: str) -> dict[str, Any]:
    """What to ask of a board before it is judged; `unit` is the text of the one that it is to run.

    An interpreter of its own is looked at; the one that bootstrap makes has nothing to be judged by.
    """
    own = {} if manages_environment(board) else {"python": board.python}
    return {"user": SERVICE_USER, "unit": unit, **own}


def preparation(
    board: Board, platform: Platform, wheels: Mapping[str, Path], trust: Trust = NOBODY
) -> Preparation:
    """What to ask of a board; `wheels` are those of its platform, by file name."""
    system = board.service is ServiceManager.SYSTEMD
    managed = manages_environment(board)
    return Preparation(
        {
            "user": SERVICE_USER if system else "",
            "udev": system and board.accelerator.value != "none",
            "wheels": request_of(wheels) if managed else {},
            "proof": packages_for(platform).proof,
            "runtime": board_script.runtime_digest(),
            **trust.request(board.name),
        },
        tuple(wheels.values()) if managed else (),
    )


def manages_environment(board: Board) -> bool:
    """Whether the manifest has the board use the interpreter that bootstrap makes."""
    return board.python == f"{board.root.rstrip('/')}/{ENVIRONMENT}"


def _is_made(said: Mapping[str, Any]) -> bool:
    environment = said.get("environment")
    return isinstance(environment, dict) and isinstance(environment.get("wheels"), dict)


def _room(said: Mapping[str, Any], *, made: bool) -> Check:
    free = said.get("free_bytes")
    known = isinstance(free, int) and not isinstance(free, bool)
    if said.get("read_only") is True:
        return Check(
            "disk",
            False,
            "mounted read-only",
            "make it writable; the kernel mounts a failing card so: `journalctl -k` says, then replace it",
        )
    enough = made or (isinstance(free, int) and known and free >= MIN_FREE)
    shown = f"{free >> 20} MiB free" if isinstance(free, int) else "unknown"
    return Check("disk", enough, shown, f"free {MIN_FREE >> 20} MiB where the root lies")


def _own_interpreter(python: str, platform: object) -> Check:
    """The one that the manifest names; where a board cannot tell what it has, a release's proof will."""
    said = platform if isinstance(platform, dict) else {}
    program = said.get("python")
    if isinstance(program, dict) and program.get("exists") is False:
        detail = f"there is no {python}"
    elif said.get("tflite") == "":
        detail = f"{python} has no TFLite runtime"
    else:
        return Check("interpreter", True, f"{python} serves")
    hint = "install it there, or leave `python` out of the manifest: bootstrap makes one then"
    return Check("interpreter", False, detail, hint)


def _edge_tpu_library(files: object) -> Check:
    present = isinstance(files, list) and bool(files)
    return Check(
        "libedgetpu",
        present,
        "installed" if present else "not installed, and the accelerator is required",
        "install it: docs/bootstrap.md#the-edge-tpus-library",
    )


def _clock(clock: object, now: float) -> Check:
    if isinstance(clock, bool) or not isinstance(clock, int | float):
        return Check("clock", False, "unknown", _KEEP_TIME)
    ahead = float(clock) - now
    seen = f"{abs(ahead):.0f} s {'behind' if ahead < 0 else 'ahead of'} ours"
    return Check("clock", abs(ahead) <= MAX_SKEW, seen, _KEEP_TIME)


def _version(said: object) -> tuple[int, int] | None:
    """The first two numbers of a version, if it has them."""
    if not isinstance(said, list) or len(said) < 2 or not all(type(part) is int for part in said):
        return None
    return said[0], said[1]


def _dotted(said: object) -> str:
    return ".".join(map(str, said[:3])) if isinstance(said, list) else "unknown"
