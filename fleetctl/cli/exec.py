"""`fleetctl exec`: a command of the user's own, on many boards at once."""

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.group import Verb
from fleetctl.cli.options import (
    DEFAULT_MANIFEST,
    FileOption,
    OnOption,
    Output,
    OutputOption,
    TransportKind,
    TransportOption,
    YesOption,
    finite,
)
from fleetctl.errors import UsageError
from fleetctl.transports.base import Reply

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.transports.ssh import SshReader

CommandArgument = Annotated[
    list[str],
    typer.Argument(metavar="COMMAND...", help="After --. One word is a shell line, several are an argv."),
]
DeadlineOption = Annotated[
    float, typer.Option("--deadline", min=1, callback=finite, help="Seconds until a board is given up.")
]


class Command(Verb):
    """A verb behind whose options stands a command of the user's own, which may have options too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            self._refuse_unclear(ctx, args)
        return super().parse_args(ctx, args)

    def _refuse_unclear(self, ctx: Any, words: list[str]) -> None:
        """Raise where an option behind the command may be its own: `-y` would be taken, and nobody asked."""
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        unmarked = words[: words.index("--")] if "--" in words else words
        command: list[str] = list(parser.parse_args(args=list(unmarked))[0].get("command") or [])
        options = [word for word in command[1:] if word.startswith("-") and word != "-"]
        unclear = [word for word in options if not self._is_ours(ctx, word)]
        if not unclear:
            return
        begins = len(unmarked) - len(command)
        meant = [*words[:begins], "--", *words[begins:]] if unclear == options else ["--", "COMMAND"]
        raise UsageError(
            f"{unclear[0]} stands behind {command[0]!r}, and may be meant for it or for fleetctl",
            hint=f"put `--` between the two: `{ctx.command_path} {shlex.join(meant)}`",
        )

    def _is_ours(self, ctx: Any, word: str) -> bool:
        """A letter says nothing; a whole word that is an option here is one."""
        name = word.partition("=")[0]
        return name.startswith("--") and any(name in param.opts for param in self.get_params(ctx))


def exec_(
    command: CommandArgument,
    file: FileOption = DEFAULT_MANIFEST,
    on: OnOption = "",
    transport: TransportOption = TransportKind.MANIFEST,
    deadline: DeadlineOption = 60.0,
    yes: YesOption = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Run a command on boards.

    It runs as the board's user, or as root where the manifest says `become: true`.

    Asks first when that is more than one board. Every line has its board's name in front. Exits 1 when the
    command failed on a board, or a board did not answer.
    """
    line = command[0] if len(command) == 1 else shlex.join(command)
    if not line.strip():
        raise UsageError("there is no command", hint="fleetctl exec --on BOARD -- COMMAND")
    from fleetctl.cli.agreed import ask
    from fleetctl.cli.session import open_session, refuse_without_ssh
    from fleetctl.report.console import emit_json, emit_markdown_table
    from fleetctl.report.replies import complain

    session = open_session(file, on, transport)
    if transport is TransportKind.MANIFEST:
        refuse_without_ssh(session.boards)
    reader = _reader(session, transport)
    if len(session.boards) > 1:
        ask(yes, f"Run `{line}` on {session.selection}?")
    results: list[Mapping[str, Any]] = []
    for reply in reader.run(session.boards, line, deadline=deadline):
        results.append(_result(reply))
        if not reply.ok:
            complain(reply)
        elif output is Output.TABLE:
            _show(reply)
    results.sort(key=lambda result: session.selection.boards.index(result["board"]))
    match output:
        case Output.JSON:
            emit_json("fleetctl.exec/v1", {"command": line, "boards": results})
        case Output.MARKDOWN:
            emit_markdown_table(["board", "exit", "output"], [_row(result) for result in results])
        case Output.TABLE:
            pass  # shown as it came
    if any(result["exit"] != 0 for result in results):
        raise typer.Exit(1)


def _reader(session: "Session", transport: TransportKind) -> "SshReader":
    from fleetctl.lab import overlay
    from fleetctl.transports.ssh import SshReader

    match transport:
        case TransportKind.FAKE:
            raise UsageError("fake boards run no commands", hint="use --transport lab")
        case TransportKind.LAB:
            return SshReader(overlay.known_hosts(session.project), overlay.identity(session.project))
        case TransportKind.MANIFEST:
            return SshReader(session.project.known_hosts, None)


def _result(reply: Reply) -> dict[str, Any]:
    """`exit` is null where a signal ended the command, or the board did not answer: `error` says which."""
    keys = ("exit", "stdout", "stderr")
    return {"board": reply.board, **{key: reply.data.get(key) for key in keys}, "error": reply.error}


def _show(reply: Reply) -> None:
    from fleetctl.report.console import printable, talk
    from fleetctl.report.github import defused

    for stream, text in ((sys.stdout, reply.data["stdout"]), (sys.stderr, reply.data["stderr"])):
        for line in text.splitlines():
            print(defused(f"{reply.board} | {printable(line)}"), file=stream, flush=True)
    if reply.data["exit"] != 0:
        status = reply.data["exit"]
        talk.fail(f"{reply.board}: " + ("a signal ended it" if status is None else f"exit status {status}"))


def _row(result: Mapping[str, Any]) -> list[str]:
    text = "".join(result[key] or "" for key in ("stdout", "stderr")).strip()
    return [result["board"], "" if result["exit"] is None else str(result["exit"]), result["error"] or text]
