"""What a checkout can say to boards over its signature, and which boards would not listen."""

import base64
from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from fleetctl.children import SIGNING_KEY
from fleetctl.errors import SigningError
from fleetctl.manifest.schema import Fleet
from fleetctl.manifest.schema import Signing as Policy
from fleetctl.project import Project
from fleetctl.revision import UNKNOWN, serial_of, working_commit
from fleetctl.signing.keys import PrivateKey, PublicKey, key_from
from fleetctl.signing.statement import Signed, Statement
from fleetctl.signing.trusted_keys import trusted_keys


class BoardTrust(Struct, frozen=True):
    """Whom a board trusts, by its own account: itself, fingerprints, and what it confirmed last."""

    fleet: str
    board: str
    keys: tuple[str, ...]
    serial: int | None


class Barred(Struct, frozen=True):
    """Why a board would refuse what is signed here, and what to do about it."""

    why: str
    fix: str


class Seen(Protocol):
    """What this module needs to know of an observed board."""

    @property
    def board(self) -> str: ...
    @property
    def good(self) -> str | None: ...
    @property
    def trust(self) -> BoardTrust | None: ...


class Signing(Struct, frozen=True):
    """One commit of one fleet, about to be signed for boards.

    `back` says that boards may be taken back to what is older than what they confirmed. `refusal` is why
    nothing can be signed here: a plan may be made all the same, for instance where no key should ever be.
    """

    fleet: str
    commit: str
    serial: int  # 0 where the history is not known: nothing is signed then, and nothing called older
    trusted: Mapping[str, PublicKey]  # by name
    key: PrivateKey | None = None
    back: bool = False
    refusal: SigningError | None = None

    def require_key(self) -> None:
        """Raise `SigningError` unless releases can be signed here."""
        if self.refusal:
            raise self.refusal

    def sign(self, board: str, release: str, back_from: int | None = None) -> Signed:
        """Say that a board is to run a release; `back_from` lets it leave what it confirmed up to there."""
        self.require_key()
        if self.key is None:
            raise ValueError("signing needs a key")
        statement = Statement(self.fleet, board, release, self.commit, self.serial, back_from)
        return Signed(statement.text.decode(), base64.b64encode(self.key.sign(statement.text)).decode())

    def order(self, seen: Seen, release: str) -> Signed:
        """What goes with an order: going back only where that is asked for, and has to be."""
        return self.sign(
            seen.board, release, self._place_of(seen) if self.back and self._is_older(seen) else None
        )

    def permission(self, seen: Seen, release: str) -> Signed:
        """What lets a board go back to a release that it still has, whether this one was confirmed or not."""
        return self.sign(seen.board, release, self._place_of(seen))

    def bar(self, seen: Seen, release: str) -> Barred | None:
        """Why a board would not take a release, if it would not. One that trusts nobody takes any."""
        trust = seen.trust
        if trust is None:
            return None
        if (trust.fleet, trust.board) != (self.fleet, seen.board):
            return Barred(
                f"takes itself for {trust.board or 'nobody'} of the fleet {trust.fleet or 'of nobody'}",
                f"`fleetctl bootstrap --on {seen.board}` tells it who it is",
            )
        ours = [self.key.public] if self.key else self.trusted.values()
        if not {key.fingerprint for key in ours} & set(trust.keys):
            return Barred(
                "does not trust the key that signs",
                f"`fleetctl bootstrap --on {seen.board}` gives it the keys in inventory/trust",
            )
        if self._is_older(seen) and not self.back and seen.good != release:
            return Barred(
                f"has confirmed number {trust.serial} of the history, this commit is number {self.serial}",
                "check out what is newer, or say --back to go back on purpose",
            )
        return None

    def _is_older(self, seen: Seen) -> bool:
        return 0 < self.serial < self._place_of(seen)

    def _place_of(self, seen: Seen) -> int:
        """The latest place in history that a board may have confirmed when it hears of this."""
        return max(self.serial, (seen.trust.serial or 0) if seen.trust else 0)


UNSIGNED = Barred(
    "takes only signed releases", "say `rollout: {signing: required}` in the manifest, and sign them"
)


def open_signing(
    project: Project, fleet: Fleet, environment: Mapping[str, str], *, back: bool = False
) -> Signing | None:
    """How this fleet's releases are signed here; None where its manifest does not ask for it.

    Raises:
        SigningError: no key is trusted in git, or the key that is set is broken or not one of those.
    """
    if fleet.rollout.signing is not Policy.REQUIRED:
        return None
    trusted = trusted_keys(project.trust)
    if not trusted:
        raise SigningError(
            "the manifest demands signed releases, and inventory/trust holds no public key",
            hint="make a pair with `fleetctl keys new`, and commit its public half",
        )
    key = key_from(environment)
    if key and key.public not in trusted.values():
        raise SigningError(
            f"the key in {SIGNING_KEY} is none of those in inventory/trust ({', '.join(trusted)})",
            hint="use one of them, or commit this one's public half and run `fleetctl bootstrap`",
        )
    commit, serial = (
        working_commit(project),
        serial_of(project.home or project.root, project.commit or "HEAD"),
    )
    return Signing(fleet.name, commit, serial or 0, trusted, key, back, _refusal(key, commit, serial))


def _refusal(key: PrivateKey | None, commit: str, serial: int | None) -> SigningError | None:
    if key is None:
        return SigningError(
            "the manifest demands signed releases, and there is no key to sign with",
            hint=f"set {SIGNING_KEY} to the path of the private key, or to its PEM",
        )
    if commit == UNKNOWN:
        return SigningError("only what is in git can be signed", hint="`git init`, and commit the fleet")
    if commit.endswith("-dirty"):
        return SigningError(
            "what differs from git cannot be signed", hint="commit the changes in inventory and fleet.lock"
        )
    if serial is None:
        return SigningError(
            "the history of this clone is cut short, so nobody can tell what is older than what",
            hint="`git fetch --unshallow`; in GitHub Actions, `fetch-depth: 0` for actions/checkout",
        )
    return None
