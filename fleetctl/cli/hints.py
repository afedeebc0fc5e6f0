"""Hints name commands; what the user said of the fleet is said in them too, so that they work as printed."""

import re
import shlex
from functools import partial
from typing import Any

_COMMAND = re.compile(r"`fleetctl ([^`\n]+)`")


def carry(ctx: Any, option: str, value: str) -> None:
    """Have commands in hints say `option` as well, those that have it, until the command line has ended."""
    from fleetctl.report.console import talk

    root = ctx.find_root()
    talk.spelled = partial(_spelled, root, talk.spelled, option, value)
    root.call_on_close(talk.spell_as_written)


def _spelled(root: Any, before: Any, option: str, value: str, text: str) -> str:
    return _COMMAND.sub(lambda found: f"`fleetctl {_with(root, option, value, found[1])}`", before(text))


def _with(root: Any, option: str, value: str, words: str) -> str:
    """A command with the option behind its verbs, if it takes it and does not say it yet."""
    verbs, command = _verbs(root, words.split(" "))
    takes = any(option in param.opts for param in command.params)
    if not verbs or not takes or option in words.split(" "):
        return words
    said = " ".join(verbs)
    return f"{said} {option} {shlex.quote(value)}{words[len(said) :]}"


def _verbs(root: Any, words: list[str]) -> tuple[list[str], Any]:
    """The words that name a verb, and what they name."""
    command, verbs = root.command, []
    for word in words:
        found = command.get_command(root, word) if hasattr(command, "get_command") else None
        if found is None:
            break
        command = found
        verbs.append(word)
    return verbs, command
