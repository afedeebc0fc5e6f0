"""Each page's HTML from what the dashboard knows. Asks a board only where its own page is looked at."""

import time
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fleetctl import __version__
from fleetctl.blame import recent_changes
from fleetctl.dashboard import golden as golden_samples
from fleetctl.dashboard import models as locked_models
from fleetctl.dashboard.plans import plan_of
from fleetctl.dashboard.snapshot import ASK_DEADLINE_S, Snapshot, Watch
from fleetctl.errors import FleetError
from fleetctl.manifest.schema import RevertPolicy
from fleetctl.observation import latency_p95_ms
from fleetctl.receipts import settled
from fleetctl.report.plan import plan_summary
from fleetctl.report.status import status_summary
from fleetctl.report.web.fleet_view import PAGE, Choice, fleet_view, names_digest
from fleetctl.report.web.pages import render
from fleetctl.report.web.sparkline import sparkline
from fleetctl.status import BoardStatus
from fleetctl.store import BlobStore
from fleetctl.untrusted import number, text

_LIMIT = 200  # rows of one wave of a plan
_RECEIPTS = 60
_REVERTS = {
    RevertPolicy.FAILED: "Boards that proved the release keep it.",
    RevertPolicy.WAVE: "The verified boards of the wave at hand go back.",
    RevertPolicy.ALL: "Every board that it verified goes back.",
}


class ReceiptRow(Struct, frozen=True):
    """One receipt of a board, its words cut to what a row holds."""

    time: str
    outcome: str
    state: str
    release: str
    commit: str
    why: str
    p95_ms: float | None


class Pages:
    """HTML by address, for one request; None where nothing is there."""

    def __init__(self, watch: Watch, *, may_act: bool = False) -> None:
        self._watch = watch
        self._may_act = may_act
        self._versions = dict(watch.versions)  # before anything is looked at: what comes later is told again

    def fleet(self, choice: Choice) -> str:
        known = self._watch.snapshot
        view = fleet_view(known.source.fleet, known.statuses, choice)
        digest = names_digest(view.names)
        return self._page(
            "fleet.html",
            "/",
            "fleet",
            known,
            view=view,
            digest=digest,
            page_size=PAGE,
            note=known.note,
            summary=_summary(known),
        )

    def rows(self, choice: Choice) -> str:
        """The rows of one page of boards, for a list that scrolls."""
        known = self._watch.snapshot
        return render("rows.html", view=fleet_view(known.source.fleet, known.statuses, choice))

    def rollout(self) -> str:
        known, policy = self._watch.snapshot, self._watch.snapshot.source.fleet.rollout
        return self._page(
            "rollout.html",
            "/rollout",
            "rollout",
            known,
            tale=self._watch.tale,
            gate=policy.gate,
            running=self._watch.running,
            reverts=_REVERTS[policy.revert],
            deeds=[{**deed, "at": _clock(deed.get("time"))} for deed in self._watch.deeds],
        )

    def plan(self, commit: str) -> str:
        known = self._watch.snapshot
        changes = recent_changes(known.source.project)
        values: dict[str, Any] = {"plan": None, "summary": "", "error": ""}
        try:
            made = plan_of(known, commit)
            values |= {"plan": made, "summary": plan_summary(made)}
        except FleetError as error:
            values["error"] = f"{error.message}. {error.hint}".rstrip(". ") + "."
        more = {"changes": changes, "commit": commit, "limit": _LIMIT}
        return self._page("plan.html", "/plan", "fleet", known, **more, **values)

    def models(self) -> str:
        known = self._watch.snapshot
        models = locked_models.locked(known.source.project).models
        cards = [name for name in models if locked_models.card_html(known.source.project, name)]
        return self._page("models.html", "/models", "", known, models=models, cards=cards)

    def card(self, model: str) -> str | None:
        known = self._watch.snapshot
        if model not in known.source.fleet.models:
            return None
        card = locked_models.card_html(known.source.project, model)
        return None if card is None else self._page("card.html", "/models", "", known, model=model, card=card)

    def card_picture(self, model: str, name: str) -> bytes | None:
        source = self._watch.snapshot.source
        return (
            locked_models.card_picture(source.project, model, name) if model in source.fleet.models else None
        )

    def golden_picture(self, board: str, index: int) -> bytes | None:
        known = self._watch.snapshot
        artifact = known.desired.artifacts.get(board) if known.desired else None
        return golden_samples.picture(artifact, _store(known), index) if artifact else None

    def board(self, name: str) -> str | None:
        known = self._watch.snapshot
        if name not in known.source.boards:
            return None
        status = next((s for s in known.statuses if s.board == name), None)
        receipts, receipts_note = self._receipts(known, name)
        artifact = known.desired.artifacts.get(name) if known.desired else None
        contract = golden_samples.contract_of(artifact, _store(known)) if artifact else None
        shares = [golden_samples.agreement(contract, receipt) for receipt in receipts]
        answers = status.observed.receipt if status else {}
        compared = golden_samples.compare(contract, answers) if contract else ()
        return self._page(
            "board.html",
            "",
            "fleet",
            known,
            board=known.source.fleet.boards[name],
            digest=names_digest([name]),
            status=status,
            receipts=[_receipt_row(receipt) for receipt in reversed(receipts)],
            receipts_note=receipts_note,
            latency=sparkline(list(map(latency_p95_ms, receipts)), "latency", "ms"),
            agreement=sparkline([None if s is None else 100 * s for s in shares], "agreement", "%"),
            golden=compared,
            golden_note=_golden_note(status, bool(contract)),
        )

    def missing(self, what: str) -> str:
        return self._page("missing.html", "", "", self._watch.snapshot, what=what)

    def _receipts(self, known: Snapshot, name: str) -> tuple[list[dict[str, Any]], str]:
        """What the board remembers, oldest first; asked now."""
        board = known.source.fleet.boards[name]
        history = known.source.transport.history
        for reply in history([board], last=_RECEIPTS, deadline=ASK_DEADLINE_S):
            said = reply.data.get("receipts")
            if reply.ok and isinstance(said, list):
                return settled(said), "It has none yet."
            return [], f"It could not be asked: {reply.error or reply.status.value}."
        return [], "It gave no answer."

    def _page(self, template: str, here: str, follows: str, known: Snapshot, **values: Any) -> str:
        return render(
            template,
            live=True,
            acts=self._may_act,
            versions=self._versions,
            version=__version__,
            fleet_name=known.source.fleet.name,
            here=here,
            follows=follows,
            when=_when(known),
            said=_summary(known),
            **values,
        )


def _summary(known: Snapshot) -> str:
    return status_summary(known.statuses) if known.statuses else "not asked yet"


def _when(known: Snapshot) -> str:
    if known.asked_at is None:
        return "asking"
    return f"asked at {time.strftime('%H:%M:%S', time.localtime(known.asked_at))}"


def _clock(seconds: object) -> str:
    known = number(seconds)
    return "" if known is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known))


def _store(known: Snapshot) -> BlobStore:
    return BlobStore(known.source.project.store)


def _golden_note(status: BoardStatus | None, here: bool) -> str:
    if not here:
        return "The golden samples are not in the local store; `fleetctl build` brings them."
    release = status.observed.receipt.get("release") if status else None
    asked = f"The answers are those of its last proof, of release {str(release)[:8]}." if release else ""
    return f"What the model should say of each picture, and what this board said. {asked}".strip()


def _receipt_row(receipt: Mapping[str, Any]) -> ReceiptRow:
    reasons = receipt.get("reasons")
    why = "; ".join(str(reason) for reason in reasons[:5])[:400] if isinstance(reasons, list) else ""
    return ReceiptRow(
        text(receipt.get("time"), 20),
        text(receipt.get("outcome"), 20),
        text(receipt.get("state"), 20),
        text(receipt.get("release"), 64),
        text(receipt.get("commit"), 12),
        why,
        latency_p95_ms(receipt),
    )
