"""The command line: answers at once what needs no verb, else lets Typer find the verb and run it.

A verb is a module of this package, imported only when it is called, so that `--help` and the light verbs
do not pay for the heavy ones. `VERBS` is the one list of them; a test holds it against the modules. This
module and what it imports are on the way of every start: Typer alone costs four bare interpreters.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` itself would be the dearest import here
    from collections.abc import Sequence
    from typing import NoReturn

    from typer import Typer

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
    "github": "Keep one comment or one issue up to date, or ask what was deployed, from a workflow.",
    "manual": "Print the man page, or a page of the reference.",
    "lab": "Start and stop virtual boards on this machine.",
}

_STARTING = 50_000  # objects that imports make, and that stay: to seek waste among them takes a twentieth


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run one command line and return its exit status; may be called many times in one process."""
    from fleetctl.cli.quick import answered

    words = sys.argv[1:] if argv is None else list(argv)
    if answered(words):
        return 0
    from fleetctl.cli.root import app

    return _by_typer(app, words)


def _by_typer(app: "Typer", words: list[str]) -> int:
    if any(word.endswith("-completion") for word in words):
        from fleetctl.cli.shells import mend

        mend()
    try:
        app(words, prog_name="fleetctl")
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            return 128 + 13  # SIGPIPE: a page of help that nobody reads is no difference that was found
        return stop.code if isinstance(stop.code, int) else 1
    except OSError as error:  # help is printed before a verb is begun, so this lies around all of it
        from fleetctl.report.problems import show_error, unwritten

        if (failed := unwritten(error)) is None:
            raise
        show_error(failed)
        return failed.exit_code
    return 0


def run() -> None:
    """The `fleetctl` entry point."""
    import _signal  # type: ignore[import-not-found] # `signal` is dearer than all else that is imported here

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:  # else somebody has it ignored
        _signal.signal(_signal.SIGINT, _end)
    try:
        _run()
    except KeyboardInterrupt:  # ahead of a verb, or behind it: whatever a verb does, it ends by itself
        sys.exit(130)


def _run() -> None:
    from fleetctl.cli.quick import answered

    see_to_streams()
    if answered(sys.argv[1:]):
        return
    import gc
    import signal

    gc.set_threshold(_STARTING)
    from fleetctl.cli.root import app

    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # else it is to outlive its terminal, as by nohup
        signal.signal(signal.SIGHUP, _terminate)
    status = _by_typer(app, sys.argv[1:])
    # The work is over and its outcome known: a signal while the interpreter closes down must not replace it.
    for late in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(late, signal.SIG_IGN)
    sys.exit(status)


def see_to_streams() -> None:
    """Have every standard stream lead somewhere, and no character of a result stop it.

    The next file that is opened would be taken for a stream that was closed, and talk without standard error
    would be printed among results.
    """
    import os

    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(number, True)
        os.close(number)
        sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
        sys.stdout = sys.stdout or os.fdopen(1, "w", errors="backslashreplace", closefd=False)
        sys.stderr = sys.stderr or os.fdopen(2, "w", errors="backslashreplace", closefd=False)
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="backslashreplace")  # as standard error has it already


def _end(number: int, _: object) -> "NoReturn":
    # At once, for nothing is begun; an exception is lost, or made another one, in some places of an import.
    import os

    os._exit(128 + number)


def _terminate(number: int, _: object) -> "NoReturn":
    # By exception, so that what was begun is ended in order: Ansible stopped, locks and folders given back.
    sys.exit(128 + number)
