"""GitHub's expressions, as far as our workflows use them; anything else is an error, not a guess."""

import json
import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|&&|\|\||==|!=|[!(),]|[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*|\d+)")


class Expressions:
    """Evaluates against `contexts` (`github`, `vars`, `steps`, ...); `failed`: a step before has failed."""

    def __init__(self, contexts: Mapping[str, Any], *, failed: bool = False) -> None:
        self._contexts = contexts
        self._failed = failed

    def fill(self, text: str) -> str:
        """`text` with its `${{ }}` replaced."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda match: _said(self.value(match.group(1))), text)

    def value(self, text: str) -> Any:
        self._left = _tokens(text)
        found = self._either()
        assert not self._left, f"{text!r} is more than is understood: {self._left}"
        return found

    def condition(self, text: str | bool | None) -> bool:
        """Whether an `if` lets a step run: without a word about failure, only after success."""
        said = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", str(text)).strip() if text is not None else "success()"
        if not re.search(r"\b(always|cancelled|failure|success)\(", said):
            said = f"success() && ({said})"
        return bool(self.value(said))

    def _either(self) -> Any:
        found = self._both()
        while self._take("||"):
            other = self._both()
            found = found or other
        return found

    def _both(self) -> Any:
        found = self._comparison()
        while self._take("&&"):
            other = self._comparison()
            found = found and other
        return found

    def _comparison(self) -> Any:
        found = self._single()
        if self._take("=="):
            return _same(found, self._single())
        if self._take("!="):
            return not _same(found, self._single())
        return found

    def _single(self) -> Any:
        token = self._left.pop(0)
        if token == "!":
            return not self._single()
        if token == "(":
            found = self._either()
            assert self._take(")")
            return found
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token.isdigit():
            return int(token)
        return self._call(token) if self._take("(") else self._look_up(token)

    def _call(self, name: str) -> Any:
        arguments = []
        while not self._take(")"):
            arguments.append(self._either())
            self._take(",")
        match name:
            case "success":
                return not self._failed
            case "failure":
                return self._failed
            case "always":
                return True
            case "cancelled":
                return False
            case "fromJSON":
                return json.loads(arguments[0])
            case "hashFiles":
                return "0" * 64
        raise AssertionError(f"no such function: {name}")

    def _look_up(self, name: str) -> Any:
        if name in ("true", "false"):
            return name == "true"
        found: Any = self._contexts
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def _take(self, token: str) -> bool:
        if self._left[:1] == [token]:
            self._left.pop(0)
            return True
        return False


def _tokens(text: str) -> list[str]:
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        assert match, f"not understood: {text[place:]!r}"
        found.append(match.group(1))
        place = match.end()
    return found


def _same(one: Any, other: Any) -> bool:
    return (one if one is not None else "") == (other if other is not None else "")


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
