"""Whether the next wave may open, decided from the verdicts of the one behind it."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from fleetctl.manifest.schema import Gate, OnInconclusive
from fleetctl.smoke import Verdict

_FAILURES = (Verdict.ROLLED_BACK, Verdict.ROLLBACK_FAILED)


class Decision(StrEnum):
    """What a gate says of the wave behind it."""

    OPEN = "open"
    PAUSE = "pause"
    FAIL = "fail"


class Judged(Struct, frozen=True):
    """A decision and the sentence that explains it."""

    decision: Decision
    reason: str


def decide(gate: Gate, verdicts: Iterable[Verdict], *, canary: bool) -> Judged:
    """Hold a finished wave against its gate.

    `verdicts` are those of the boards that had something to do. Offline boards count neither for nor against;
    one that was to be changed and is untouched all the same (it said no) could not be judged. In the canary
    wave the number of failures decides, in later waves the fraction of verified boards among those that were
    judged. A canary wave that proved nothing pauses: there is nothing to go on.
    """
    counts = Counter(verdicts)
    failed = sum(counts[verdict] for verdict in _FAILURES)
    verified, unsure = counts[Verdict.VERIFIED], counts[Verdict.INCONCLUSIVE] + counts[Verdict.UNTOUCHED]
    if gate.inconclusive is OnInconclusive.FAIL:
        failed, unsure = failed + unsure, 0
    if counts[Verdict.ROLLBACK_FAILED]:
        return Judged(Decision.FAIL, f"{_boards(counts[Verdict.ROLLBACK_FAILED])} could not be rolled back")
    if canary and failed > gate.canary_failures:
        return Judged(
            Decision.FAIL, f"{_boards(failed)} of the canary failed, {gate.canary_failures} allowed"
        )
    if not canary and verified < gate.success * (verified + failed) - 1e-9:
        share = 1000 * verified // (verified + failed) / 10  # never rounded up to what was needed
        return Judged(Decision.FAIL, f"{share:g} % verified, {100 * gate.success:g} % needed")
    if unsure and gate.inconclusive is OnInconclusive.PAUSE:
        return Judged(Decision.PAUSE, f"{_boards(unsure)} could not be judged")
    if canary and not verified:
        return Judged(Decision.PAUSE, "no board of the canary could prove the release")
    return Judged(Decision.OPEN, f"{_boards(verified)} verified" + (f", {failed} failed" if failed else ""))


def _boards(count: int) -> str:
    return f"{count} board" if count == 1 else f"{count} boards"
