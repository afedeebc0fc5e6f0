"""Files that are not YAML at all, and how to say so: the place, what is there, what was probably meant."""

import re

import yaml

from fleetctl.errors import Problem

_CONFLICT = re.compile(rb"^(?:<{7}|>{7}|\|{7})(?: [^\n]*)?\r?$", re.MULTILINE)

# What libyaml and PyYAML say, by a part of their words, and what we say for it.
_MEANINGS = (
    (
        "mapping values are not allowed",
        "a `:` where no key can be",
        "indent it like its neighbours, or quote the text",
    ),
    ("could not find expected ':'", "a key without its `:`", "write `key: value`"),
    (
        "did not find expected key",
        "neither a key nor the end of the mapping",
        "check the indentation of this line",
    ),
    (
        "expected <block end>",
        "neither a key nor the end of the mapping",
        "check the indentation of this line",
    ),
    (
        "did not find expected '-'",
        "neither an item nor the end of the list",
        "check the indentation of this line",
    ),
    (
        "did not find expected ',' or '}'",
        "the `{` before this is not closed",
        "write `}`, or `,` between the keys",
    ),
    (
        "did not find expected ',' or ']'",
        "the `[` before this is not closed",
        "write `]`, or `,` between the items",
    ),
    ("expected node content", "a value is missing", "close the brackets before it, or write the value"),
    ("expected the node content", "a value is missing", "close the brackets before it, or write the value"),
    ("unexpected end of stream", "the text ends inside quotes", "close the quotes"),
)


def unreadable(data: bytes, name: str) -> list[Problem]:
    """What keeps `data` from being YAML text: bytes that are not UTF-8, and merge-conflict markers."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        line, column = place(data, error.start)
        what = f"byte 0x{data[error.start]:02x} is not UTF-8"
        return [Problem(name, line, column, "", what, "save the file as UTF-8")]
    return [_conflict(data, name, match.start()) for match in _CONFLICT.finditer(data)]


def _conflict(data: bytes, name: str, offset: int) -> Problem:
    line, column = place(data, offset)
    return Problem(
        name, line, column, "", "a merge-conflict marker", "choose one side and delete the marker lines"
    )


def place(data: bytes, offset: int) -> tuple[int, int]:
    """Line and column, from 1, of the byte at `offset`."""
    before = data[:offset]
    start = before.rfind(b"\n") + 1
    return before.count(b"\n") + 1, len(before[start:].decode(errors="replace")) + 1


def syntax_problem(error: yaml.MarkedYAMLError, data: bytes, name: str) -> Problem:
    """A YAML error in our form."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    what, hint = _meaning(error, _character(data, line, column))
    if error.context_mark and error.context_mark.line + 1 != line:
        what += f", in what began on line {error.context_mark.line + 1}"
    return Problem(name, line, column, "", what, hint)


def _character(data: bytes, line: int, column: int) -> str:
    rows = data.split(b"\n", line)
    row = rows[line - 1].decode() if 0 < line <= len(rows) else ""
    return row[column - 1] if 0 < column <= len(row) else ""


def _meaning(error: yaml.MarkedYAMLError, character: str) -> tuple[str, str]:
    said = error.problem or "not YAML"
    if character == "\t":
        return "a tab is used for indentation", "indent with spaces"
    if "cannot start any token" in said:
        return f"a value cannot begin with `{character}`", "quote the value"
    for words, what, hint in _MEANINGS:
        if words in said:
            return what, hint
    return f"not YAML: {said}", ""


def control_character(error: "yaml.reader.ReaderError", data: bytes, name: str) -> Problem:
    """A character that YAML allows only as an escape."""
    # libyaml counts bytes, PyYAML's own reader characters.
    offset = error.position if error.encoding != "unicode" else len(data.decode()[: error.position].encode())
    line, column = place(data, offset)
    character = error.character if isinstance(error.character, int) else ord(error.character)
    return Problem(
        name, line, column, "", f"control character U+{character:04X}", "delete it, or write it as an escape"
    )
