"""Trying a release, keeping it, and going back from it.

Every method that changes anything is called under the lock.
"""

from __future__ import annotations

import time
from typing import Any, Dict, List, Optional

from .board_error import BoardError
from .call import Call, Checkpoint, number
from .clock import POLL_S, utc
from .durable import fsync_directory, remove
from .evidence import judge, prove, receipt_of
from .files import Json
from .foreign import restore_foreign_current, set_foreign_current_aside
from .healthz import healthz
from .layout import Board
from .pending import KEEPING, PROVED, REVERTING, TRYING, on_probation
from .records import Records
from .recovery import revert_lapsed
from .release_files import altered_files, release_files
from .repaired import is_environment_back, note_proved, take_environment_back
from .services import Service, service_of
from .space import collect
from .staging import mend
from .talk import complain
from .trust import note_serial
from .unit_files import unit_is_other
from .watcher import start_watcher
from .way_back import release_before

DEADLINE_S = 300.0
CONFIRM_TIMEOUT_S = 30.0
START_AGAIN_S = 60.0
WITH_ENVIRONMENT_BEFORE = "the board went back to the Python environment of before, too"
LAST_WORDS = 20  # lines of the service's log in an error


class Activation:
    """One board on its way from release to release."""

    def __init__(self, board: Board, checkpoint: Checkpoint, unit_folder: str) -> None:
        self.board = board
        self.records = Records(board)
        self.checkpoint = checkpoint
        self.unit_folder = unit_folder

    @classmethod
    def of(cls, call: Call) -> Activation:
        return cls(call.board, call.checkpoint, call.unit_folder)

    def service(self, digest: str) -> Service:
        return service_of(self.board, digest, self.unit_folder)

    def serves(self, digest: str) -> bool:
        said = healthz(self.board.config(digest, "config/serve.json"))
        return said.get("release") == digest and bool(self.service(digest).is_ours(said.get("pid")))

    def before(self) -> Optional[str]:
        """The release to go back to: the one before a release on probation, else the current one."""
        pending = self.records.pending
        return pending.get("previous") if pending else self.board.current

    # forward

    def try_release(self, digest: str, previous: Optional[str], order: Json) -> Dict[str, Any]:
        """Swap to a staged release, start it and prove it. Ends pending, or back on `previous`.

        Returns `{"state": "pending" | "reverted" | "revert_failed", "receipt": ...}`.

        Raises:
            BoardError: `watcher-failed`; nothing was changed.
        """
        self._end_trial_under_another_manager(digest)
        start_watcher(self)  # before anything is on probation: a login that ends now may end all it began
        self.checkpoint("watcher-started")
        limit = time.monotonic() + number(order, "deadline", DEADLINE_S)
        self.records.write("pending.json", on_probation(digest, previous, order, TRYING, limit))
        self.checkpoint("pending-written")
        try:
            receipt = self._swap_and_prove(digest, previous, order, limit)
            if receipt["outcome"] != "failed":
                self._await_confirmation(receipt, order)
                return {"state": "pending", "receipt": receipt}
        except (BoardError, OSError) as error:
            receipt = receipt_of(self.board, digest, previous, order, {})
            receipt.update(judge(self.board, digest, receipt))
            receipt["reasons"] = [str(error)] + ([] if receipt["outcome"] == "failed" else receipt["reasons"])
        return self.revert(receipt)

    def _end_trial_under_another_manager(self, digest: str) -> None:
        """Its service would keep running beside ours: nothing that goes back later knows of it."""
        pending = self.records.pending
        if pending and not self._same_manager(pending["release"], digest):
            revert_lapsed(self, pending, "another release was ordered")

    def _await_confirmation(self, receipt: Json, order: Json) -> None:
        self.records.keep(receipt, self.checkpoint)
        self.checkpoint("receipt-written")
        until = time.monotonic() + number(order, "confirm_timeout", CONFIRM_TIMEOUT_S)
        proved = on_probation(receipt["release"], receipt["previous"], order, PROVED, until)
        self.records.write("pending.json", proved)
        self.checkpoint("proved")

    def _swap_and_prove(
        self, digest: str, previous: Optional[str], order: Json, limit: float
    ) -> Dict[str, Any]:
        if self.board.current is None:
            set_foreign_current_aside(self.board)
        self.board.point_at(digest)
        self.checkpoint("swapped")
        if previous is not None and not self._same_manager(previous, digest):
            self.service(previous).forget()
        self.start(digest, limit)
        self.checkpoint("started")
        receipt = prove(self.board, digest, previous, order, limit)
        self.checkpoint("judged")
        return receipt

    def _same_manager(self, one: str, other: str) -> bool:
        first, second = (self.board.config(digest, "config/service.json") for digest in (one, other))
        return (first.get("manager"), first.get("unit")) == (second.get("manager"), second.get("unit"))

    def start(self, digest: str, limit: float) -> Dict[str, Any]:
        """Start the service on a release and wait until the new process itself says that it serves it.

        Raises:
            BoardError: it died, or did not answer in time; the last lines of its log are in the message.
        """
        service = self.service(digest)
        config = self.board.config(digest, "config/serve.json")
        service.start(digest)
        while True:
            said = healthz(config)
            if said.get("release") == digest and service.is_ours(said.get("pid")):
                return said
            death = service.death()
            if not death and time.monotonic() > limit:
                death = "it did not answer in time"
            if death:
                raise BoardError(
                    "service-failed", why_it_did_not_start(death, service.last_words(LAST_WORDS))
                )
            time.sleep(POLL_S)

    def start_again(self, digest: str, limit: float) -> None:
        """Start the service on a kept release, if need be with the environment that it was proved with."""
        try:
            self.start(digest, limit)
        except (BoardError, OSError):  # its interpreter may not be there at all
            if is_environment_back(self.board) or not self.take_environment_back():
                raise
            self.start(digest, time.monotonic() + START_AGAIN_S)

    # keep

    def confirm(self, digest: str) -> Dict[str, Any]:
        """Keep the release that is on probation.

        Raises:
            BoardError: `not-pending`, or `not-serving` when its service no longer runs it.
        """
        pending = self.records.pending
        if pending.get("release") != digest:
            if not pending and self.board.good == digest == self.board.current:
                return {"state": "confirmed", "current": digest}
            raise BoardError("not-pending", "release %s is not waiting to be confirmed" % digest[:12])
        if not self.serves(digest):
            raise BoardError("not-serving", "the service no longer serves release %s" % digest[:12])
        self.records.write("pending.json", dict(pending, phase=KEEPING))
        self.checkpoint("keeping")
        return self.finish_keeping()

    def finish_keeping(self) -> Dict[str, Any]:
        pending = self.records.pending
        digest = pending["release"]
        self.records.with_room(lambda: note_serial(self.board, pending.get("signed")))
        self.records.with_room(lambda: self.board.set_good(digest))
        self.checkpoint("good-written")
        note_proved(self.board)
        receipt = self.records.receipt or {}
        if receipt.get("release") == digest and receipt.get("state") != "confirmed":
            self._record(dict(receipt, state="confirmed", time=utc(), **pending.get("told", {})))
        self.checkpoint("confirmation-recorded")
        remove(self.board.in_state("pending.json"))
        fsync_directory(self.board.state)
        self.checkpoint("confirmed")
        self._tidy_up(digest, pending.get("previous"))
        return {"state": "confirmed", "current": digest}

    def _record(self, receipt: Json) -> None:
        """Keep the receipt of something that is done, and stays done where there is no room to say so."""
        try:
            self.records.keep(receipt, self.checkpoint)
        except OSError as error:
            complain("cannot record that %s was %s: %s" % (receipt["release"][:12], receipt["state"], error))

    def _tidy_up(self, *worth_keeping: Optional[str]) -> None:
        """Collect what is not needed to serve, or to go back to: what was altered is neither."""
        try:
            whole = {each for each in worth_keeping if each and not altered_files(self.board, each)}
            collect(self.board, {self.board.current, *whole})
        except OSError as error:  # who confirmed would take it for a release that is not kept
            complain("cannot clear away what nobody needs any more: %s" % error)

    # back

    def revert(self, receipt: Json) -> Dict[str, Any]:
        """Go back from the release that is on probation; `receipt` is what is known about it."""
        pending = self.note_reverting(receipt)
        self.checkpoint("reverting")
        return self.finish_revert(pending)

    def note_reverting(self, receipt: Json) -> Dict[str, Any]:
        pending = dict(self.records.pending, phase=REVERTING, receipt=dict(receipt))
        try:
            self.records.write("pending.json", pending)
        except OSError as error:  # not noted is bad, not going back is worse
            complain("cannot note that %s is being reverted: %s" % (str(receipt["release"])[:12], error))
        return pending

    def finish_revert(self, pending: Json) -> Dict[str, Any]:
        release, previous = pending["release"], pending.get("previous")
        receipt = dict(pending["receipt"])
        self.point_back(previous)
        self.checkpoint("swapped-back")
        # Twice: there is nothing else to fall back on.
        trouble = self._serve_again(release, previous) and self._serve_again(release, previous, is_last=True)
        self.checkpoint("serving-again")
        is_back = not trouble and is_environment_back(self.board)
        remarks = [trouble] if trouble else [WITH_ENVIRONMENT_BEFORE] if is_back else []
        receipt.update(state="revert_failed" if trouble else "reverted", time=utc())
        receipt["reasons"] = list(receipt.get("reasons", [])) + remarks
        receipt["restored"] = previous
        self._record(receipt)
        self.checkpoint("reversal-recorded")
        if is_back:
            note_proved(self.board)
        remove(self.board.in_state("pending.json"))
        fsync_directory(self.board.state)
        if not trouble:  # the release that failed stays a while: of one that is mended, most is the same
            before = release_before(self.records.history(1 << 30), previous, self.board.has_release)
            self._tidy_up(release, previous, before)
        return {"state": receipt["state"], "current": self.board.current, "receipt": receipt}

    def point_back(self, previous: Optional[str]) -> None:
        if previous is None:
            restore_foreign_current(self.board)
        elif self.board.current != previous:
            self.records.with_room(lambda: self.board.point_at(previous))

    def take_environment_back(self) -> bool:
        return self.records.with_room(lambda: take_environment_back(self.board))

    def _serve_again(self, release: str, previous: Optional[str], is_last: bool = False) -> str:
        """Have the previous release served and proved; returns what is wrong, empty if nothing is.

        The last time, it starts anew, with the environment that it was proved with.
        """
        try:
            if previous is None:
                self.service(release).forget()
                return ""
            if not self._same_manager(release, previous):
                self.service(release).forget()
            if is_last:
                self.take_environment_back()
                self.service(previous).stop()
            return self._prove_restored(previous)
        except Exception as error:  # noqa: BLE001 - whatever it was, the way back has to come to its end
            return "going back failed: %s" % (str(error) or type(error).__name__)

    def _prove_restored(self, previous: str) -> str:
        """Correct answers count, their speed does not: the release was good, and the board may be busy."""
        limit = time.monotonic() + DEADLINE_S
        mend(self.board, previous)  # its service ran on from memory when somebody changed its files
        wanted = release_files(self.board, previous)
        # A boot has systemd start it by the unit of the release that was left.
        if not self.serves(previous) or unit_is_other(self.board, previous, wanted, self.unit_folder):
            self.start(previous, min(limit, time.monotonic() + START_AGAIN_S))
        receipt = prove(self.board, previous, None, {}, limit)
        smoke = dict(self.board.config(previous, "config/smoke.json"), max_p95_ms=None)
        judged = judge(self.board, previous, receipt, smoke)
        return (
            ""
            if judged["outcome"] != "failed"
            else "the restored release fails too: %s" % "; ".join(judged["reasons"])
        )


def why_it_did_not_start(death: str, words: List[str]) -> str:
    """How the service died, with the last thing it said; what it said before is on the lines below."""
    said = [line for line in words if line.strip() and not line.startswith("{")]  # replies of `recover`
    headline = "the service did not start: %s" % death
    return "\n".join([": ".join([headline, *said[-1:]]), *said[:-1]])
