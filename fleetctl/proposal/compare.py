"""A change of the fleet's repository, held against what it starts from."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.commits import Commits
from fleetctl.desired import desired_fleet
from fleetctl.errors import Dangerous, FleetError
from fleetctl.manifest.schema import Danger, Fleet
from fleetctl.plan import Plan, make_plan
from fleetctl.project import Project
from fleetctl.proposal.base import Base, base_of, findings
from fleetctl.proposal.dangers import Finding, left_over
from fleetctl.proposal.history import commit_by_commit
from fleetctl.proposal.models import ModelChange, model_changes
from fleetctl.proposal.quota import HubCost, hub_cost
from fleetctl.proposal.settings import Setting, setting_changes
from fleetctl.proposal.side import Side, observed_at, read_side, same_release


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
        settings=tuple(setting_changes(base.side.fleet, head.fleet)),
        dangers=tuple(found),
        left_over=tuple(left_over(head, found)),
    )
    try:
        made, hub = _plan(boards, base, head)
    except FleetError as error:
        return replace(proposal, error=error)
    unchanged = len(head.fleet.boards) - sum(1 for _ in made.steps)
    return replace(proposal, plan=made, unchanged=unchanged, hub=hub)


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
    return name in base.side.fleet.boards and same_release(name, base.side, head)


def _plan(boards: list[str], base: Base, head: Side) -> tuple[Plan, HubCost | None]:
    """What changes, and what it asks of an IoT Hub."""
    desired = desired_fleet(head.project, head.fleet, boards)
    seen = observed_at(base.side, boards)
    refusals = desired.refusals(dict.fromkeys(boards))
    made = _changes(make_plan(head.fleet, desired.releases, seen, desired.configs, refusals))
    return made, hub_cost(made, head.fleet, desired.configs)


def _changes(plan: Plan) -> Plan:
    """A plan without the boards that keep their release."""
    waves = (
        replace(wave, steps=tuple(step for step in wave.steps if step.current != step.desired))
        for wave in plan.waves
    )
    return Plan(plan.fleet, tuple(wave for wave in waves if wave.steps))


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
    commits = Commits(project.root)
    commit, head = commits.resolve(rev), read_side(_name_of_head(commits), project)
    if commits.is_same_fleet(commit):
        return Proposal(fleet.name, commit, head.name, Plan(fleet.name, ()), unchanged=len(fleet.boards))
    with base_of(project, commit, fleet) as base:
        proposal = propose(base, head)
        if by_commit:
            proposal = replace(proposal, dangers=tuple(commit_by_commit(proposal.dangers, base, head)))
        return proposal


def _name_of_head(commits: Commits) -> str:
    return "working tree" if commits.changed_files() else commits.resolve("HEAD")
