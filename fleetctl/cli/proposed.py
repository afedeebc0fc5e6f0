"""`fleetctl plan --base REV`: what a change does, between two commits and without any board."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fleetctl.cli.options import Output
from fleetctl.errors import FleetError, Incompatible

if TYPE_CHECKING:
    from fleetctl.manifest.schema import Fleet
    from fleetctl.project import Project
    from fleetctl.proposal.compare import Proposal


def show_proposal(file: Path, rev: str, output: Output, *, by_commit: bool, changes_ok: bool) -> None:
    """Show what the files here change against the commit `rev`; exit as `plan` does, or 0 for `changes_ok`.

    With `by_commit` each commit since then answers for its own dangers.

    Raises:
        Dangerous: the change does what is seldom meant, and does not say that it is.
        FleetError: the change cannot be planned; in Markdown it is the result all the same.
    """
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.proposal.compare import propose_from, refuse

    project = Project(file)
    try:
        fleet = load(file)
        proposal = propose_from(project, rev, fleet, by_commit=by_commit)
    except FleetError as error:
        _show_refusal(error, output)
        raise
    _show(proposal, output)
    refuse(proposal)
    if proposal.plan.refused:
        raise typer.Exit(Incompatible.exit_code)
    if proposal.is_empty:
        _tell_of_lock(project, fleet)
    elif not changes_ok:
        raise typer.Exit(1)


def _tell_of_lock(project: "Project", fleet: "Fleet") -> None:
    """A lock that was stale before is not the fault of a change that leaves the fleet alone; still it is."""
    from fleetctl.build.resolve import resolve
    from fleetctl.report.console import talk

    try:
        resolve(fleet, project, ())
    except FleetError as error:
        talk.warn(f"as before this change: {error.message}; {error.hint}".removesuffix("; "))


def _show_refusal(error: FleetError, output: Output) -> None:
    """A pull request that cannot be read gets a comment too: it says why."""
    from fleetctl.report import github
    from fleetctl.report.console import emit_text
    from fleetctl.report.proposal import refusal_markdown

    text = refusal_markdown(error, "this change")
    if output is Output.MARKDOWN:
        emit_text(text)
    github.summarize(text)


def _show(proposal: "Proposal", output: Output) -> None:
    from fleetctl.report import github
    from fleetctl.report.console import emit_json, emit_text
    from fleetctl.report.proposal import COMMENT_BYTES, PROPOSAL_SCHEMA, proposal_markdown, proposal_text

    markdown = proposal_markdown(proposal, _plots(proposal))
    match output:
        case Output.JSON:
            emit_json(PROPOSAL_SCHEMA, proposal.to_json())
        case Output.MARKDOWN:
            emit_text(github.clipped(markdown, COMMENT_BYTES))
        case Output.TABLE:
            emit_text(proposal_text(proposal))
    github.summarize(markdown)
    for finding in proposal.dangers:
        if finding.allowed:
            github.warn(f"{finding.danger}: {finding.what}; allowed: {finding.reason}")
    github.set_outputs(
        {
            "changes": not proposal.is_empty,
            "dangers": len(proposal.refused),
            "boards": sum(1 for _ in proposal.plan.steps),
        }
    )


def _plots(proposal: "Proposal") -> dict[str, list[str]]:
    """Addresses of the plots of changed models, where GitHub shows them."""
    from fleetctl.report.github import address

    shown = {change.model: change.plots for change in proposal.models if change.after}
    return {model: [url for path in paths if (url := address(path))] for model, paths in shown.items()}
