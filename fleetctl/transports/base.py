"""The seam between deciding and doing: what every way of reaching boards offers, and the words it uses.

Each verb takes many boards at once and yields one `Reply` a board, in the order they come, exactly one each.
A transport never raises for the sake of one board; it raises `FleetError` only when it cannot work at all.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct, field

from fleetctl.manifest.schema import Board
from fleetctl.release import Release
from fleetctl.signing.statement import Signed


class ReplyStatus(StrEnum):
    """How asking a board ended. Only `OK` carries data."""

    OK = "ok"
    UNREACHABLE = "unreachable"  # no connection: the board counts as offline
    REFUSED = "refused"  # host key, authentication or permission: a person must act
    FAILED = "failed"  # reached, and the board said no
    TIMED_OUT = "timed_out"  # reached, and silent past the deadline


class Reply(Struct, frozen=True):
    """One board's answer. `data` is what the board said, parsed: untrusted, of limited size."""

    board: str
    status: ReplyStatus
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        return self.status is ReplyStatus.OK


class Holding(Struct, frozen=True):
    """What a board was seen to have: it saves asking. A board that has less by now says so."""

    release: str | None  # that it runs
    files: Mapping[str, str]  # of that release, as they are on the board: sha256 by path
    spare: tuple[str, ...] = ()  # digests of large blobs besides, as it says: nobody hashed them
    begun: Mapping[str, int] | None = None  # bytes by digest of what came before a line broke; None: not said
    modules: str | None = None  # digest of the runtime whose modules it keeps, ready to run

    @property
    def blobs(self) -> frozenset[str]:
        """Digests of what need not be sent, as far as anybody knows."""
        return frozenset(self.files.values()).union(self.spare)


class Order(Struct, frozen=True):
    """Put this release on this board, prove it, and confirm it if the proof holds."""

    board: Board
    release: Release
    blobs: Path  # root of the BlobStore that holds the release's bytes
    commit: str  # of the manifest; goes into the receipt
    confirm_timeout: float  # seconds
    deadline: float  # seconds
    signed: Signed | None = None  # that the board is to run this; None where releases are not signed
    undo: Signed | None = None  # that it may go back to what it runs now; sent only if it has to
    holding: Holding | None = None  # None: nobody has looked


NOTHING_SIGNED: Mapping[str, Signed] = MappingProxyType({})


@runtime_checkable
class Examines(Protocol):
    """A transport that can look at boards closely, and take a rung of `fleetctl doctor`'s ladder."""

    def examine(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """What each board lives with: the reply of the board verb `examine`."""
        ...

    def remedy(self, boards: Sequence[Board], *, step: str, deadline: float) -> Iterator[Reply]:
        """Take one rung on each board: the reply of the board verb `remedy`."""
        ...


class Transport(Protocol):
    """How fleetctl reaches boards."""

    name: str

    def observe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """What each board runs now: the reply of the board verb `observe`."""
        ...

    def release(self, orders: Sequence[Order]) -> Iterator[Reply]:
        """Send what is missing, activate, prove, and confirm at once each board whose evidence passes
        `fleetctl.device.judge`; a board whose evidence does not pass is told to revert.

        Confirming belongs here because a board waits only `confirm_timeout` for it; a wave can take longer.
        The data is the reply of the board verb `activate`, with `state` as it ended.
        """
        ...

    def confirm(
        self, boards: Sequence[Board], releases: Mapping[str, str], *, deadline: float
    ) -> Iterator[Reply]:
        """Keep the release (digest by board name) that a board has pending."""
        ...

    def revert(
        self,
        boards: Sequence[Board],
        to: Mapping[str, str | None],
        *,
        reason: str,
        deadline: float,
        signed: Mapping[str, Signed] = NOTHING_SIGNED,
    ) -> Iterator[Reply]:
        """Go back to a release that the board still has (digest by board name; None: the one before).

        `signed` lets boards do so that demand a signature, by board name.
        """
        ...

    def probe(self, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        """Golden samples through the serving process, changing nothing: the reply of `probe`."""
        ...

    def logs(self, boards: Sequence[Board], *, lines: int, deadline: float) -> Iterator[Reply]:
        """The last lines the service wrote, as `{"lines": [...]}`."""
        ...

    def history(self, boards: Sequence[Board], *, last: int, deadline: float) -> Iterator[Reply]:
        """The last receipts each board wrote, oldest first, as `{"receipts": [...]}`."""
        ...
