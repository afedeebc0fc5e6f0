"""A change of the fleet's repository, held against what it starts from."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.commits import Commits
from fleetctl.desired import desired_fleet
from fleetctl.errors import Dangerous, FleetError
from fleetctl.manifest.schema import Danger, Fleet
from fleetctl.plan import Action, Plan, Step, make_plan
from fleetctl.project import Project
from fleetctl.proposal.base import Base, base_of, findings, pin_at
from fleetctl.proposal.beside import pin_of
from fleetctl.proposal.dangers import Finding, left_over
from fleetctl.proposal.history import commit_by_commit
from fleetctl.proposal.models import ModelChange, model_changes
from fleetctl.proposal.quota import HubCost, hub_cost
from fleetctl.proposal.settings import Setting, pin_changes, setting_changes
from fleetctl.proposal.side import Side, is_same_address, ran_at, read_side, same_release


class Proposal(Struct, frozen=True):
    """What a change would do. `plan` holds the boards whose release differs; `error` is why there is none.

    `leaving` are boards that would no longer be managed; `unchanged` counts those that keep their release.
    """

    fleet: str
    base: str
    head: str
    plan: Plan
    leaving: tuple[str, ...] = ()
    unchanged: int = 0
    models: tuple[ModelChange, ...] = ()
    settings: tuple[Setting, ...] = ()
    dangers: tuple[Finding, ...] = ()
    left_over: tuple[Danger, ...] = ()
    hub: HubCost | None = None
    error: FleetError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing that boards, models or rollouts depend on differs."""
        return not (any(self.plan.steps) or self.leaving or self.models or self.settings or self.error)

    @property
    def refused(self) -> tuple[Finding, ...]:
        """Dangers that the change does not allow."""
        return tuple(finding for finding in self.dangers if not finding.allowed)

    def to_json(self) -> dict[str, Any]:
        return {
            "base": self.base,
            "head": self.head,
            **self.plan.to_json(),
            "leaving": list(self.leaving),
            "unchanged": self.unchanged,
            "models": [change.to_json() for change in self.models],
            "settings": [setting._asdict() for setting in self.settings],
            "dangers": [
                {
                    "danger": finding.danger.value,
                    "what": finding.what,
                    "allowed": finding.allowed,
                    "reason": finding.reason,
                    "commit": finding.commit,
                }
                for finding in self.dangers
            ],
            "iothub": self.hub.to_json() if self.hub else None,
            "allow_left_over": [danger.value for danger in self.left_over],
            "error": {"message": self.error.message, "hint": self.error.hint} if self.error else None,
        }


def propose(base: Base, head: Side) -> Proposal:
    """Hold `head` against `base`.

    What keeps the head from being planned (a stale lock, a gate that refuses) is in the proposal's `error`,
    so that the rest of it is told all the same.
    """
    found = findings(base, head)
    boards = [name for name in head.fleet.boards if not _is_same(name, base, head)]
    proposal = Proposal(
        fleet=head.fleet.name,
        base=base.commit,
        head=head.name,
        plan=Plan(head.fleet.name, ()),
        leaving=tuple(name for name in base.side.fleet.boards if name not in head.fleet.boards),
        models=tuple(model_changes(base.side, head)),
        settings=tuple(setting_changes(base.side, head)),
        dangers=tuple(found),
        left_over=tuple(left_over(head, found)),
    )
    try:
        made, hub, broken = _plan(boards, base, head)
    except FleetError as error:
        return replace(proposal, error=error)
    unchanged = len(head.fleet.boards) - sum(1 for _ in made.steps)
    settings = (*proposal.settings, *([_broken(broken)] if broken else ()))
    return replace(proposal, plan=made, unchanged=unchanged, hub=hub, settings=settings)


def _broken(what: str) -> Setting:
    """Templates of the base that fail: nobody's fault here, least of all of who mends them."""
    return Setting("templates", f"what it was cannot be said: {what}", "as they are here")


def refuse(proposal: Proposal) -> None:
    """Raise what stands against a change.

    Raises:
        Dangerous: it does something dangerous that its own manifest does not allow.
        FleetError: the head cannot be planned.
    """
    if refused := proposal.refused:
        raise Dangerous(
            "; ".join(f"{finding.danger}: {finding.what}" for finding in refused), hint=_way_out(refused)
        )
    if proposal.error:
        raise proposal.error


def _way_out(refused: Sequence[Finding]) -> str:
    words = ", ".join(f"{danger}: WHY" for danger in dict.fromkeys(f.danger.value for f in refused))
    allow = f"`rollout: {{allow: {{{words}}}}}`"
    commits = list(dict.fromkeys(f.commit[:12] for f in refused if f.commit))
    if not commits:
        return f"if that is meant, say so in this very change: {allow}"
    way_back = "revert that; if it is meant, do it again in a commit that says so"
    return f"{', '.join(commits)} brought it: {way_back}: {allow}"


def _is_same(name: str, base: Base, head: Side) -> bool:
    is_there = name in base.side.fleet.boards and is_same_address(name, base.side, head)
    return is_there and same_release(name, base.side, head)


def _plan(boards: list[str], base: Base, head: Side) -> tuple[Plan, HubCost | None, str]:
    """What changes, what it asks of an IoT Hub, and what is wrong with the base's templates."""
    desired = desired_fleet(head.project, head.fleet, boards)
    ran = ran_at(base.side, head, boards)
    refusals = desired.refusals(dict.fromkeys(boards))
    whole = make_plan(head.fleet, desired.releases, ran.observed, desired.configs, refusals)
    made = _changes(whole, ran.unknown)
    return made, hub_cost(made, head.fleet, desired.configs), ran.broken


def _changes(plan: Plan, unknown: Mapping[str, str]) -> Plan:
    """A plan without the boards that keep their release."""
    waves = (
        replace(
            wave,
            steps=tuple(_told(step, unknown) for step in wave.steps if step.current != step.desired),
        )
        for wave in plan.waves
    )
    return Plan(plan.fleet, tuple(wave for wave in waves if wave.steps))


def _told(step: Step, unknown: Mapping[str, str]) -> Step:
    """A board of which nobody knows what it runs may need all of its release, or nothing."""
    if (why := unknown.get(step.board)) is None or not step.action.touches:
        return step
    return replace(step, action=Action.UPDATE, reasons=(why,))


def propose_from(project: Project, rev: str, fleet: Fleet, *, by_commit: bool = False) -> Proposal:
    """Hold the working tree against the commit that `rev` names.

    Where no file of the fleet differs there is nothing to plan, and a lock that was stale before is not this
    change's fault.

    Args:
        by_commit: each commit since then answers for the dangers that it brought, and for no others.

    Raises:
        UsageError: git knows no such commit.
        ManifestError: the lock or a template of the working tree is not one.
    """
    commits = Commits(project)
    commit, head = commits.resolve(rev), read_side(_name_of_head(commits), project)
    if commits.is_same_fleet(commit, fleet.models):
        nothing = Plan(fleet.name, ())
        settings = tuple(pin_changes(pin_at(project, commit), pin_of(project.root)))
        return Proposal(
            fleet.name, commit, head.name, nothing, unchanged=len(fleet.boards), settings=settings
        )
    with base_of(project, commit, fleet) as base:
        proposal = propose(base, head)
        if by_commit:
            proposal = replace(proposal, dangers=tuple(commit_by_commit(proposal.dangers, base, head)))
        return proposal


def _name_of_head(commits: Commits) -> str:
    return "working tree" if commits.changed_files() else commits.resolve("HEAD")
