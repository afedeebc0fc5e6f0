"""What is to be done with boards, as a person was shown it and agreed to; and boards are like that still."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer
from msgspec import ValidationError

from fleetctl.checked_json import Malformed, parse
from fleetctl.cli.options import Output
from fleetctl.cli.session import READ_DEADLINE
from fleetctl.errors import FleetError, Incompatible, Refused, SigningError, TransportError, UsageError
from fleetctl.observation import Observed, Reach
from fleetctl.plan import PLAN_SCHEMA, Action, Plan, Step, plan_from_json, refuse_if_stale

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.desired import Desired
    from fleetctl.signing.signing import Signing

# A look at boards holds for as long as it may take: the first answer is as old when the last one comes.
PATIENCE_S = READ_DEADLINE


class Look(NamedTuple):
    """Boards as they were seen, and what is to be done with them."""

    plan: Plan
    observed: Mapping[str, Observed]


@dataclass(frozen=True)
class Wanted:
    """What boards are to be brought to; `saved` is the plan that has to hold for them, if there is one."""

    session: "Session"
    desired: "Desired"
    signing: "Signing | None"
    saved: Plan | None
    _: KW_ONLY
    adopt: bool
    back: bool

    def look(self) -> Look:
        """See what boards run, and what would bring them there.

        Raises:
            PlanStale: it is not what was saved.
            FleetError: a person has to act before anything can be done.
        """
        from fleetctl.cli.over_iothub import refuse_unready

        observed = self.session.observe()
        strangers = self.session.strangers(observed, self.desired.releases, adopt=self.adopt, back=self.back)
        made = self.desired.plan(observed, self.signing, strangers)
        if self.saved is not None:
            refuse_if_stale(self.saved, made)
        _refuse(made.refused, Incompatible, "could not load its release: it ")
        _refuse(made.barred, SigningError)
        refuse_blocked(made, observed, so="nothing was changed")
        refuse_unready(self.session, made, self.desired)
        return Look(made, observed)


def agreed(look: Callable[[], Look], output: Output, yes: bool) -> Look:
    """What a person who was shown it agreed to; shown and asked again where boards changed meanwhile."""
    from fleetctl.report.console import talk
    from fleetctl.report.plan import plan_summary

    seen = look()
    while not seen.plan.is_empty:
        shown_at = time.time()  # which goes on while a laptop sleeps
        _show(seen.plan, output)
        ask(yes, f"Roll out to {sum(step.action.touches for step in seen.plan.steps)} boards?")
        if yes or 0 <= time.time() - shown_at <= PATIENCE_S:
            return seen
        shown, seen = seen, look()
        if seen.plan == shown.plan:
            return seen
        talk.warn("boards changed before you answered: this is what is to be done now")
    talk.done(f"nothing to do: {plan_summary(seen.plan)}")
    return seen


def _show(made: Plan, output: Output) -> None:
    from fleetctl.report.console import emit_text, say_plainly
    from fleetctl.report.github import defused
    from fleetctl.report.plan import plan_text

    if output is Output.TABLE:
        emit_text(plan_text(made))
    else:  # standard output is for the result alone where a machine reads it
        say_plainly(defused(plan_text(made)))


def read_plan(path: Path) -> Plan:
    """A plan that `fleetctl plan --save` wrote.

    Raises:
        UsageError: there is none at `path`.
    """
    hint = "make one with `fleetctl plan --save`"
    try:
        node = parse(path.read_bytes())
        node.key("schema").exactly(PLAN_SCHEMA)
        return plan_from_json(node.value)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint=hint) from error
    except (Malformed, ValidationError) as error:
        raise UsageError(f"{path} is not a saved plan: {error}", hint=hint) from error


def _refuse(steps: Sequence[Step], kind: type[FleetError], what: str = "") -> None:
    """Stop before anything is touched when boards would not load, or not take, what they are to get."""
    if not steps:
        return
    first = steps[0]
    more, without = _others([step.board for step in steps])
    raise kind(
        f"{first.board} {what}{'; '.join(first.reasons)}{more}; nothing was changed",
        hint="; or ".join([*first.fixes, without]),
    )


def refuse_blocked(made: Plan, observed: Mapping[str, Observed], *, so: str) -> None:
    """Stop before anything is touched when a board needs a person first; `so` says what comes of it."""
    blocked = [observed[step.board] for step in made.steps if step.action is Action.BLOCKED]
    if not blocked:
        return
    refused = [seen for seen in blocked if seen.reach is Reach.REFUSED]
    first = (refused or blocked)[0]
    more, without = _others([seen.board for seen in blocked])
    hint = f"{first.hint}; or {without}" if first.hint else without
    kind = Refused if refused else TransportError
    raise kind(f"{first.board}: {first.error or 'could not be asked'}{more}; {so}", hint=hint)


def _others(boards: Sequence[str]) -> tuple[str, str]:
    """How many there are beside the one that is told of, and how to go on without any of them."""
    more = f" (and {len(boards) - 1} more boards)" if len(boards) > 1 else ""
    return more, "leave out with --on '" + ",".join(f"!{board}" for board in boards[:5]) + "'"


def ask(yes: bool, question: str) -> None:
    """Ask before boards are written to, unless told not to."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked", hint="say --yes to go on without asking")
    typer.confirm(question, abort=True, err=True)
