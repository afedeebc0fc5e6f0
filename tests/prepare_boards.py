"""What tests of docker boards need and must not fetch themselves: images to boot, wheels to send.

python tests/prepare_boards.py amd64 arm64       (as root where no registry of images can be reached)

A processor is noted as ready once a board of it has booted here: where containers cannot run, tests skip.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from fleetctl.bootstrap.wheelhouse import Platform, fetch
from fleetctl.errors import FleetError
from fleetctl.images.wheels import module_wheels
from fleetctl.lab import control
from fleetctl.lab.docker.engine import engine
from fleetctl.lab.docker.images import ensure
from fleetctl.lab.state import LabFiles, Wanted

_STATE = Path(__file__).resolve().parents[1] / ".fleetctl"
WHEELHOUSE = _STATE / "test-wheelhouse"
READY = _STATE / "test-boards"
USERS = ("pi", "mendel")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
BOOKWORM = {"python": (3, 11), "glibc": (2, 36)}


def main(architectures: list[str]) -> int:
    """Prepare each processor that can be; 1 where one cannot."""
    return max(prepared_or_said_why(architecture) for architecture in architectures)


def prepared_or_said_why(architecture: str) -> int:
    note = READY / architecture
    note.unlink(missing_ok=True)
    try:
        with engine() as client:
            prepare(client, architecture)
    except FleetError as error:
        print(f"{architecture}: {error.message} ({error.hint})", file=sys.stderr)
        return 1
    READY.mkdir(parents=True, exist_ok=True)
    note.touch()
    return 0


def prepare(client: Any, architecture: str) -> None:
    for user in USERS:
        print(ensure(client, architecture, user, _say))
    print(*fetch(Platform(MACHINES[architecture], **BOOKWORM), WHEELHOUSE), sep="\n")
    print(*module_wheels(MACHINES[architecture], WHEELHOUSE), sep="\n")
    boot(architecture)


def boot(architecture: str) -> None:
    """Boot a board and remove it again."""
    with tempfile.TemporaryDirectory(prefix="fleetctl-boards-") as folder:
        files = LabFiles(Path(folder) / "lab")
        try:
            control.up(files, [Wanted("first", architecture=architecture)], control.Driver.DOCKER, _say)
        finally:
            control.down(files, keep=False)


def _say(text: str) -> None:
    print(f"  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
