"""The root of the command line as Typer knows it: finds the verb, runs it, and is the one error boundary."""

import importlib
import os
import signal
import sys
from typing import Any

import typer

from fleetctl.cli import VERBS
from fleetctl.cli.group import Verb, Verbs
from fleetctl.errors import FleetError


class LazyGroup(Verbs):
    """A group that imports a verb's module when the verb is called, and is the one error boundary."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in self.commands and cmd_name in VERBS:
            self.commands[cmd_name] = _load(cmd_name)
        return self.commands.get(cmd_name)

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
        except typer.Abort as stop:
            cut_off = stop.__context__
            if isinstance(cut_off, KeyboardInterrupt | EOFError):
                typer.echo(err=True)  # nobody ended the line of the question
            if isinstance(cut_off, KeyboardInterrupt):  # which Typer takes for an answer of no
                typer.echo("Aborted!", err=True)
                raise typer.Exit(128 + signal.SIGINT) from stop
            raise
        except BrokenPipeError as error:  # which Typer takes for exit 1, and 1 is a difference that was found
            from fleetctl.report.console import silence

            silence(sys.stdout)
            raise typer.Exit(128 + signal.SIGPIPE) from error
        except (typer.Exit, typer.TyperException, KeyboardInterrupt):
            raise
        except Exception as error:
            if isinstance(error.__cause__, KeyboardInterrupt | SystemExit):  # as where a class is being made
                raise error.__cause__ from None
            from fleetctl.report import problems

            told = problems.nowhere(error) or problems.barred(error) or problems.lacking(error)
            if told is not None:
                problems.show_error(told)
                raise typer.Exit(told.exit_code) from error
            if os.environ.get("FLEETCTL_DEBUG") or problems.unwritten(error):
                raise
            problems.show_internal_error(error)
            raise typer.Exit(FleetError.exit_code) from error


def _load(verb: str) -> Any:
    module = importlib.import_module(f"fleetctl.cli.{verb}")
    nested = getattr(module, "app", None)
    if isinstance(nested, typer.Typer):
        command = typer.main.get_command(nested)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        function = getattr(module, verb, None) or getattr(module, f"{verb}_")
        kind = getattr(module, "Command", Verb)
        single.command(name=verb, cls=kind, help=_first_paragraph(function))(function)
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
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(
    help="Git says what each board runs; a board runs it only once it has proved it.",
    epilog="`fleetctl VERB --help` says more of a verb. To begin, `fleetctl init` writes a fleet, and "
    "`fleetctl lab up` starts virtual boards for it.",
)
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    del version
