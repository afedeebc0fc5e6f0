"""What is signed: one board of one fleet is to run one release, as of one place in git's history."""

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.store import canonical_json

STATEMENT_SCHEMA = "fleetctl.statement/v1"


class Statement(Struct, frozen=True):
    """Every word is signed, and a board takes it for nothing else.

    `serial` grows with the history of the fleet's repository: a board refuses what is older than what it
    confirmed, unless `back_from` says that it may go back from that very place.
    """

    fleet: str
    board: str
    release: str  # its digest, which is over the digests of all its files
    commit: str
    serial: int
    back_from: int | None = None

    @property
    def text(self) -> bytes:
        """The bytes that are signed: canonical JSON."""
        return canonical_json({"schema": STATEMENT_SCHEMA, **asdict(self)})


class Signed(Struct, frozen=True):
    """A statement on its way to a board: its text, and a DER signature in base64."""

    statement: str
    signature: str

    @property
    def request(self) -> dict[str, str]:
        """The part of a request to a board that carries it."""
        return {"statement": self.statement, "signature": self.signature}
