"""`fleetctl github`: what a workflow tells people, in one comment and one issue, and what GitHub knows."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.group import Verbs

if TYPE_CHECKING:
    from fleetctl.forge.rest import GitHub

app = typer.Typer(
    cls=Verbs,
    help="Keep one comment or one issue up to date, or ask what was deployed, from a workflow.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

_MARK = 100  # characters, at most, that go before a body

KeyOption = Annotated[str, typer.Option("--key", help="Which comment or issue: one of each key.")]
BodyOption = Annotated[Path, typer.Option("--file", help="Markdown; `-` is standard input.")]


@app.command()
def comment(
    file: BodyOption,
    key: KeyOption = "plan",
    number: Annotated[
        int,
        typer.Option(
            "--number", min=0, help="Of the pull request. Default: the workflow's.", show_default=False
        ),
    ] = 0,
) -> None:
    """Make or replace the one comment of this key on a pull request.

    On a pull request from a fork, where GitHub gives no right to comment, says so and exits 0: the summary of
    the step has the same text.
    """
    from fleetctl.errors import Refused
    from fleetctl.forge.event import pull_request
    from fleetctl.report.console import emit_text, talk

    body, where = _read(file), number or pull_request()
    try:
        emit_text(_github().comment(where, key, body))
    except Refused as error:
        if not _from_fork():
            raise
        talk.warn(f"{error.message}: this pull request comes from a fork, so it gets no comment")


@app.command("open-issue")
def open_issue(
    file: BodyOption,
    title: Annotated[str, typer.Option("--title", help="Of the issue.")],
    key: KeyOption = "drift",
) -> None:
    """Make the one open issue of this key, or bring it up to date."""
    from fleetctl.forge.event import run_address
    from fleetctl.forge.rest import BODY_CHARACTERS
    from fleetctl.report.console import emit_text
    from fleetctl.report.github import clipped

    log = run_address()
    end = f"\n\n[The log]({log})" if log else ""
    body = _read(file).strip() or "The check itself failed and said nothing."
    # Whoever reads what was cut needs the log most.
    body = clipped(body, BODY_CHARACTERS - len(end) - _MARK)
    emit_text(_github().open_issue(key, title, body + end))


@app.command("close-issue")
def close_issue(key: KeyOption = "drift") -> None:
    """Close the open issue of this key, if there is one: all is well again."""
    from fleetctl.forge.event import run_address
    from fleetctl.report.console import emit_text, talk

    log = run_address()
    closed = _github().close_issue(key, "All is well again." + (f" [The log]({log})" if log else ""))
    if closed:
        emit_text(closed)
    else:
        talk.done("no issue is open")


@app.command()
def deployed(
    environment: Annotated[str, typer.Argument(metavar="ENVIRONMENT", help="Of a job, such as `canary`.")],
) -> None:
    """Print the commit of the newest deployment to an environment that succeeded.

    A job with an `environment` is a deployment to it. Where none ever succeeded, says so and exits 0: the
    output `commit` of the step is empty then.
    """
    from fleetctl.report import github
    from fleetctl.report.console import emit_text, talk

    commit = _github().deployed(environment)
    github.set_outputs({"commit": commit})
    if commit:
        emit_text(commit)
    else:
        talk.done(f"no deployment to {environment} has succeeded yet")


def _github() -> "GitHub":
    from fleetctl.forge.rest import GitHub
    from fleetctl.report import github

    github.mask(os.environ.get("GITHUB_TOKEN", ""))
    return GitHub.of(os.environ)


def _from_fork() -> bool:
    from fleetctl.forge.event import event

    said = event().get("pull_request")
    head = said.get("head") if isinstance(said, dict) else None
    repository = head.get("repo") if isinstance(head, dict) else None
    name = repository.get("full_name") if isinstance(repository, dict) else None
    return name != os.environ.get("GITHUB_REPOSITORY")


def _read(file: Path) -> str:
    from fleetctl.errors import UsageError

    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} cannot be read: it is not UTF-8") from error
