"""How a rollout looks: lines on stderr while it moves, a table of verdicts on stdout in the end."""

from collections.abc import Mapping
from typing import Any

from fleetctl import events
from fleetctl.events import Event
from fleetctl.observation import latency_p95_ms
from fleetctl.report.console import Talk, markdown_table, markdown_text
from fleetctl.report.units import duration_text, plural, short
from fleetctl.rollout.state import Rollout
from fleetctl.smoke import BoardVerdict, Verdict

ROLLOUT_SCHEMA = "fleetctl.rollout/v1"

VERDICT_COLUMNS = ["board", "verdict", "release", "p95", "why"]


class Narrator:
    """Tells events as they come."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def __call__(self, event: Event) -> None:
        match event:
            case events.WaveStarted(number, name, boards):
                self.talk.step(f"wave {number} ({name}): {plural(len(boards), 'board')}")
            case events.BoardSettled():
                self._board(event)
            case events.SoakStarted(_, seconds):
                self.talk.note(f"watching for {duration_text(seconds)}")
            case events.SoakResumed(number, name, boards, seconds):
                self.talk.step(
                    f"wave {number} ({name}): {plural(len(boards), 'board')} of an earlier rollout"
                )
                self.talk.note(f"watching for another {duration_text(seconds)}")
            case events.GateDecided(number, decision, reason):
                say = {"open": self.talk.done, "pause": self.talk.warn}.get(decision, self.talk.fail)
                say(f"gate of wave {number}: {decision}: {reason}")
            case events.RolloutHeld(by):
                self.talk.warn(f"paused by {by}: no further wave opens before `fleetctl resume`")
            case events.RolloutResumed(by):
                self.talk.step(f"resumed by {by}")
            case events.RolloutAborted(by):
                self.talk.fail(f"aborted by {by}")
            case events.RevertStarted(boards, reason):
                self.talk.step(f"rolling back {plural(len(boards), 'board')}: {reason}")
            case events.RolloutStarted() | events.RolloutFinished():
                pass  # the verb itself opens and closes the tale

    def _board(self, event: events.BoardSettled) -> None:
        verified = event.verdict == Verdict.VERIFIED
        proof = f"p95 {event.p95_ms:.1f} ms" if verified and event.p95_ms is not None else ""
        why = "; ".join(event.reasons)
        line = f"{event.board}: {event.verdict.replace('_', ' ')}" + "".join(
            f", {part}" for part in (proof, why) if part
        )
        (self.talk.done if verified else self.talk.fail)(line)


def verdict_rows(state: Rollout) -> list[list[str]]:
    """Rows for `VERDICT_COLUMNS`, trouble first."""
    desired = {step.board: step.desired for step in state.plan.steps}
    ordered = sorted(state.verdicts.values(), key=lambda v: -_trouble(v.verdict))
    return [_verdict_row(verdict, desired[verdict.board]) for verdict in ordered]


def _trouble(verdict: Verdict) -> int:
    ranks = (Verdict.UNTOUCHED, Verdict.VERIFIED, Verdict.DEFERRED, Verdict.INCONCLUSIVE, Verdict.ROLLED_BACK)
    return ranks.index(verdict) if verdict in ranks else len(ranks)


def _verdict_row(verdict: BoardVerdict, desired: str) -> list[str]:
    p95 = latency_p95_ms(verdict.receipt)
    return [
        verdict.board,
        verdict.verdict.value.replace("_", " "),
        short(desired),
        f"{p95:.1f} ms" if p95 is not None else "",
        "; ".join(verdict.reasons),
    ]


def rollout_markdown(state: Rollout, commit: str, part: str = "") -> str:
    """A finished rollout for a step summary: how it ended, then every board, trouble first.

    `part` says what of a rollout it was; empty: all of it.
    """
    count = state.counts()
    counts = ", ".join(f"{count[each]} {each.value.replace('_', ' ')}" for each in Verdict if count[each])
    reason = f": {markdown_text(state.reason)}" if state.reason else ""
    outcome = state.outcome.value if state.outcome else "nothing to do"
    title = f"### Rollout of {state.plan.fleet}" + (f": {part}" if part else "")
    lines = [title, "", f"Commit `{commit}`: **{outcome}**{reason}", ""]
    return "\n".join([*lines, markdown_table(VERDICT_COLUMNS, verdict_rows(state)), "", counts])


def rollout_json(state: Rollout, commit: str) -> Mapping[str, Any]:
    """A finished rollout as plain data."""
    counts = state.counts()
    return {
        "commit": commit,
        "outcome": state.outcome.value if state.outcome else None,
        "reason": state.reason,
        "counts": {verdict.value: counts[verdict] for verdict in Verdict},
        "boards": [
            {
                "board": verdict.board,
                "verdict": verdict.verdict.value,
                "reasons": list(verdict.reasons),
                "receipt": dict(verdict.receipt),
            }
            for verdict in state.verdicts.values()
        ],
    }
