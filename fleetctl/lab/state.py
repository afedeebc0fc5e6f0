"""What the lab is made of and where it lies: the records that its daemon and its callers share.

Two files of one shape: `wanted.json`, written by `fleetctl lab`, says what there should be; `lab.json`,
written by the daemon, says what there is. `generation` ties an answer to its question.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.errors import UsageError
from fleetctl.project import Project
from fleetctl.store import atomic_write

SCHEMA = "fleetctl.lab/v1"
DRIVER = "process"


class LabFiles(Struct, frozen=True):
    """The lab's folder, `.fleetctl/lab` in a fleet's repository."""

    folder: Path

    @classmethod
    def of(cls, project: Project) -> "LabFiles":
        return cls(project.state / "lab")

    @property
    def identity(self) -> Path:
        """The client's private key; its public half is beside it."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def wanted(self) -> Path:
        return self.folder / "wanted.json"

    @property
    def state(self) -> Path:
        return self.folder / "lab.json"

    @property
    def daemon(self) -> Path:
        """Held locked by the daemon as long as it lives, with its pid inside."""
        return self.folder / "daemon.lock"

    @property
    def log(self) -> Path:
        return self.folder / "daemon.log"

    @property
    def boards(self) -> Path:
        return self.folder / "boards"

    def home(self, board: str) -> Path:
        """A board's own folder: its HOME and first working directory."""
        return self.boards / board

    def host_key(self, board: str) -> Path:
        return self.folder / "host_keys" / board


class Wanted(Struct, frozen=True):
    """A virtual board to have: whose twin it is, of what kind, on which processor (Debian's name)."""

    name: str
    kind: str = "generic"  # a `BoardKind`
    architecture: str = ""


class VirtualBoard(Struct, frozen=True):
    """How to reach one virtual board, and whether it is switched on."""

    host: str
    port: int
    user: str
    root: str  # what `root` is on a real board
    python: str
    serve_port: int
    online: bool = True
    error: str = ""  # why a board that should be online is not
    become: bool = False  # whether root is had by sudo
    service: str = "process"  # a `ServiceManager`
    architecture: str = ""  # of Debian's names; empty: this machine's
    account: str = ""  # of a docker board: whose home its image has

    @property
    def address(self) -> str:
        """The form in which known_hosts files name a host."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


class LabState(Struct, frozen=True):
    """All virtual boards, by name. `pid` is the daemon's, 0 in a wish and where there is no daemon."""

    boards: Mapping[str, VirtualBoard]
    generation: int = 0
    pid: int = 0
    driver: str = DRIVER

    def write(self, path: Path) -> None:
        boards = {name: asdict(board) for name, board in self.boards.items()}
        record = {"schema": SCHEMA, "driver": self.driver, "pid": self.pid, "generation": self.generation}
        atomic_write(path, json.dumps({**record, "boards": boards}, indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "LabState | None":
        """The state on disk, or None where there is none.

        Raises:
            UsageError: the file is not one that this version wrote.
        """
        try:
            record = json.loads(path.read_bytes())
            if record["schema"] != SCHEMA:
                raise ValueError
            boards = {str(name): VirtualBoard(**board) for name, board in record["boards"].items()}
            return cls(boards, int(record["generation"]), int(record["pid"]), str(record["driver"]))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UsageError(
                f"{path} is damaged, or not a lab of this version",
                hint="start over with `fleetctl lab down` and `fleetctl lab up`",
            ) from error
