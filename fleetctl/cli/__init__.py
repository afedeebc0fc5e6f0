"""The command line: finds the verb, runs it, and turns every error into one message and a numbered exit.

A verb is a module of this package, imported only when it is called, so that `--help` and the light verbs
do not pay for the heavy ones. `VERBS` is the one list of them; a test holds it against the modules.
"""

import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from fleetctl.errors import FleetError

VERBS: dict[str, str] = {
    "init": "Write a small commented fleet to start from.",
    "validate": "Check the manifest and show every problem in it.",
    "explain": "Say which file and line set each value of a board.",
    "schema": "Print the JSON Schema of the manifest, or of what a verb prints.",
    "build": "Build the models that changed, and hold them against their gates.",
    "models": "Measure and inspect built models.",
    "artifacts": "Push models to where other machines find them, and pull them.",
    "render": "Show the files that a board's release is made of.",
    "plan": "Say what a rollout would change, board by board, and why.",
    "bootstrap": "Make fresh boards fit to take releases.",
    "keys": "Make and list the keys that releases are signed with.",
    "rollout": "Bring boards to what git says, wave by wave, proving each.",
    "pause": "Hold a rollout that is under way before its next wave.",
    "resume": "Let a rollout that was paused go on.",
    "abort": "End a rollout that is under way; boards go back as the manifest says.",
    "rollback": "Put boards back on a release they still have.",
    "leave": "Give boards back to what ran on them before fleetctl.",
    "status": "Say whether each board does what git says, how we know, and since when.",
    "drift": "Say what differs between git, the files on boards, and what their processes have loaded.",
    "doctor": "Examine one board, and say what to do about each thing that is wrong.",
    "dashboard": "Serve a page of the fleet on this machine, which moves with boards and rollouts.",
    "report": "Summarize the fleet today, or a rollout, for a pull request or an email.",
    "smoke": "Ask the serving processes the golden questions, changing nothing.",
    "history": "List the releases that boards ran, with their proof.",
    "logs": "Print the last lines of a board's service.",
    "exec": "Run a command on boards.",
    "github": "Keep one comment or one issue up to date, from a workflow.",
    "manual": "Print the man page, or a page of the reference.",
    "lab": "Start and stop virtual boards on this machine.",
}


class LazyGroup(TyperGroup):
    """A group that imports a verb's module when the verb is called, and is the one error boundary."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in self.commands and cmd_name in VERBS:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], VERBS, 1)
            ctx.fail(f"no verb {args[0]!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FleetError as error:
            from fleetctl.report.problems import show_error

            show_error(error)
            raise typer.Exit(error.exit_code) from error
        except (typer.Exit, typer.Abort, typer.TyperException, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("FLEETCTL_DEBUG"):
                raise
            from fleetctl.report.problems import show_internal_error

            show_internal_error(error)
            raise typer.Exit(FleetError.exit_code) from error


def _load(verb: str) -> Any:
    module = importlib.import_module(f"fleetctl.cli.{verb}")
    nested = getattr(module, "app", None)
    if isinstance(nested, typer.Typer):
        command = typer.main.get_command(nested)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        function = getattr(module, verb, None) or getattr(module, f"{verb}_")
        single.command(name=verb, help=_first_paragraph(function))(function)
        command = typer.main.get_command(single)
    command.name = verb
    return command


def _first_paragraph(function: Any) -> str:
    return (function.__doc__ or "").strip()


def _show_version(wanted: bool) -> None:
    if wanted:
        from fleetctl import __version__

        typer.echo(f"fleetctl {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback(help="Git says what each board runs; a board runs it only once it has proved it.")
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del version


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; may be called many times in one process."""
    try:
        app(list(argv) if argv is not None else None, prog_name="fleetctl")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0


def run() -> None:
    """The `fleetctl` entry point."""
    signal.signal(signal.SIGTERM, _terminate)
    status = main()
    # The work is over and its outcome known: a signal while the interpreter closes down must not replace it.
    for late in (signal.SIGINT, signal.SIGTERM):
        signal.signal(late, signal.SIG_IGN)
    sys.exit(status)


def _terminate(number: int, _: object) -> NoReturn:
    # By exception, so that what was begun is ended in order: Ansible stopped, locks and folders given back.
    sys.exit(128 + number)
