"""Puts releases on this board, proves them, and goes back by itself unless somebody confirms.

    python3 activate.py VERB --root ROOT    one line of JSON in, one line of JSON out

Any Python from 3.7 runs it, standard library only. It and its siblings come with every release, and are sent
ahead of the request to a board that has none. docs/board-protocol.md has the words.

Whatever kills this process, at any instant, the board keeps one whole working release:

    blobs and releases   are written aside, checked, synced, and only then renamed to their names
    pending.json         is written before `current` is touched: what is under way, and how to undo it
    current              changes by one rename
    the watcher          runs before pending.json is there, outlives this process, undoes what nobody confirms
    recover              comes first at boot and before any change of what is served: finishes or undoes what
                         was cut short
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import types
from typing import Any, BinaryIO, Callable, Dict, NamedTuple, Optional, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

from .board_error import BoardError
from .call import Call, Checkpoint, read_request
from .durable import is_full
from .layout import Board

# The module of each verb, which has a function of the verb's name. Only that one is imported, before anything
# is done: compiling the others takes longer than most verbs, and a release may delete the one that runs it.
VERBS = {
    "observe": "observe",
    "missing": "inventory_verbs",
    "activate": "activate_verb",
    "confirm": "settle_verbs",
    "revert": "settle_verbs",
    "leave": "leave_verb",
    "probe": "service_verbs",
    "logs": "service_verbs",
    "history": "inventory_verbs",
    "recover": "settle_verbs",
    "describe": "describe_verb",
    "examine": "examine_verb",
    "remedy": "remedy_verb",
    "prepare": "prepare_verb",
}
USAGE = "usage: activate.py {%s} --root ROOT [--before-start]" % ",".join(sorted(VERBS))


class Command(NamedTuple):
    """The words on the command line."""

    verb: str
    root: str
    before_start: bool  # `recover` only sees that `current` is safe to start


def parse_command(argv: Sequence[str]) -> Optional[Command]:
    """None for anything but the usage; by hand, because `argparse` takes longer to import than verbs take."""
    before_start = list(argv[3:]) == ["--before-start"]
    if len(argv) != 3 + before_start or argv[0] not in VERBS or argv[1] != "--root":
        return None
    return Command(argv[0], argv[2], before_start)


def verb_function(verb: str) -> Callable[[Call], Dict[str, Any]]:
    function: Callable[[Call], Dict[str, Any]] = getattr(
        importlib.import_module(".%s" % VERBS[verb], __package__), verb
    )
    return function


def answer_verb(verb: str, call: Callable[[], Call]) -> Dict[str, Any]:
    """The reply to a verb; whatever goes wrong becomes a reply too."""
    try:
        return dict(verb_function(verb)(call()), ok=True)
    except BoardError as error:
        return {"ok": False, "code": error.code, "error": str(error)}
    except OSError as error:
        print_traceback()
        code = (
            "no-space" if is_full(error) else "no-permission" if isinstance(error, PermissionError) else "io"
        )
        return {"ok": False, "code": code, "error": str(error)}
    except Exception as error:  # noqa: BLE001 - the boundary of this program
        print_traceback()
        return {"ok": False, "code": "internal", "error": "%s: %s" % (type(error).__name__, error)}


def print_traceback() -> None:
    import traceback  # slow to import: only when it is needed

    traceback.print_exc()


def no_checkpoint(_: str) -> None:
    """Tests stop the program at its named steps; nobody else does."""


def main(
    argv: Sequence[str],
    stream: Optional[BinaryIO] = None,
    checkpoint: Checkpoint = no_checkpoint,
    unit_folder: str = "/etc/systemd/system",
) -> int:
    """Answer one verb; see the module."""
    chosen = parse_command(argv)
    if chosen is None:
        sys.stderr.write(USAGE + "\n")
        return 2
    source = stream or sys.stdin.buffer
    os.umask(0o022)  # the service has a user of its own, who reads what is laid out here

    def call() -> Call:
        unsaid = b"{}" if chosen.verb == "recover" else b""  # who boots a board has nothing to say
        request = read_request(source, unsaid)
        return Call(Board(chosen.root), request, source, checkpoint, unit_folder, chosen.before_start)

    reply = answer_verb(chosen.verb, call)
    sys.stdout.write(json.dumps(reply, sort_keys=True) + "\n")
    sys.stdout.flush()
    return 0 if reply["ok"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
