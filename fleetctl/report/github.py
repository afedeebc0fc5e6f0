"""What GitHub Actions understands of a step: annotations, summary, outputs, masks. Elsewhere nothing is said.

A runner obeys lines that begin with `::` and texts that hold `##[`, on either stream. So whatever is printed
goes through `defused` first: a board, a template or a pull request must not speak to the runner.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from fleetctl.errors import FleetError, ManifestError, Problem

SUMMARY_BYTES = 1_000_000  # GitHub drops a step's summary whole that is over 1 MiB
MOST_ANNOTATIONS = 10  # of one kind that GitHub shows of a step

_COMMAND = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def active() -> bool:
    """Whether this is a step of a workflow."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def defused(text: str) -> str:
    """`text` so that a runner takes no part of it for a command; unchanged where there is no runner."""
    if not active():
        return text
    return _COMMAND.sub(r"\1\\x3a", text).replace("##[", "#\\x23[")


def defused_json(text: str) -> str:
    """The same for JSON text: its value stays what it was."""
    return text.replace("##[", "#\\u0023[") if active() else text


def annotation(
    level: str, message: str, *, title: str = "", file: str = "", line: int = 0, column: int = 0
) -> str:
    """The workflow command that marks a place of a file: `level` is `error`, `warning` or `notice`."""
    places = {"file": file, "line": line or "", "col": column or "", "title": title}
    known = ",".join(f"{key}={_property(str(value))}" for key, value in places.items() if value)
    return f"::{level}{' ' if known else ''}{known}::{_data(message)}"


def annotate(error: FleetError) -> None:
    """Mark what is wrong in the files of a pull request; an error without a place marks the step."""
    if not active():
        return
    commands = [_of_problem(problem) for problem in getattr(error, "problems", ())]
    if not isinstance(error, ManifestError):
        hint = f"; {error.hint}" if error.hint else ""
        commands.append(annotation("error", f"{error.message}{hint}", title="fleetctl"))
    if len(commands) > MOST_ANNOTATIONS:
        more = len(commands) - (MOST_ANNOTATIONS - 1)
        commands[MOST_ANNOTATIONS - 1 :] = [
            annotation("error", f"{more} more problems: the log has all", title="fleetctl")
        ]
    _say(commands)


def warn(message: str, *, title: str = "fleetctl") -> None:
    """A warning on the step that does not fail it."""
    if active():
        _say([annotation("warning", message, title=title)])


def mask(secret: str) -> None:
    """Ask the runner to blot out a secret wherever it is printed from now on; it swallows the line."""
    if active():
        _say([f"::add-mask::{_data(line)}" for line in secret.splitlines() if line.strip()])


def summarize(markdown: str) -> None:
    """Add to the step's summary; cut, and said so, where GitHub would drop all of it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not active() or not path:
        return
    had = Path(path).stat().st_size if Path(path).exists() else 0
    _append(path, clipped(markdown.rstrip("\n"), SUMMARY_BYTES - had) + "\n\n")


def set_outputs(values: Mapping[str, str | int | bool]) -> None:
    """Set outputs of the step: `values` by name. Booleans become `true` and `false`."""
    path = os.environ.get("GITHUB_OUTPUT")
    if active() and path:
        _append(path, "".join(_output(name, value) for name, value in values.items()))


def address(path: Path) -> str:
    """Where GitHub shows a file (below the checkout) of this commit; empty where that is not known."""
    said = [os.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_SHA")]
    if not (active() and all(said)):
        return ""
    server, repository, commit = said
    return f"{server}/{repository}/raw/{commit}/{quote(path.as_posix())}"


def clipped(markdown: str, most: int) -> str:
    """At most `most` bytes of a text, whole lines, with a word about what was left out."""
    data = markdown.encode()
    if len(data) <= most:
        return markdown
    note = "\n\n**Cut here: the log and `--output json` have all of it.**"
    kept = data[: max(0, most - len(note))].decode(errors="ignore")
    return kept.rpartition("\n")[0] + note


def _of_problem(problem: Problem) -> str:
    hint = f"; {problem.hint}" if problem.hint else ""
    subject = f"{problem.path}: " if problem.path else ""
    return annotation(
        "error",
        f"{subject}{problem.what}{hint}",
        title="fleetctl",
        file=_in_repository(problem.file),
        line=problem.line,
        column=problem.column,
    )


def _in_repository(file: str) -> str:
    """A path as the pull request shows it: from the root of the checkout."""
    path, root = Path(file).absolute(), Path(os.environ.get("GITHUB_WORKSPACE") or ".").absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _output(name: str, value: str | int | bool) -> str:
    import secrets  # for a step of a workflow only: start-up counts

    if not _NAME.fullmatch(name):
        raise ValueError(name)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    end = f"end-{secrets.token_hex(16)}"  # a value cannot hold what nobody knew before
    return f"{name}<<{end}\n{text}\n{end}\n"


def _append(path: str, text: str) -> None:
    # GitHub's own files, read by it when the step is over; a full disk there must not end a rollout.
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        print(f"! {path} could not be written: {error.strerror}", file=sys.stderr, flush=True)


def _say(commands: list[str]) -> None:
    print("\n".join(commands), file=sys.stderr, flush=True)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
