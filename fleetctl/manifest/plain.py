"""What an unquoted word of YAML is: null, boolean, number or text, and the ones that nobody should rely on.

YAML 1.1 (PyYAML, Ansible) and 1.2 (most editors) differ about `no`, `0o17`, `1_000` and `1e3`. Whatever both
read alike is taken; whatever they do not is refused with the advice to quote it. Only `22:22` is text in our
eyes although YAML 1.1 counts it in sixties, because people write times and ports that way.
"""

import math
import re
from enum import Enum, auto

_SUSPECTS = frozenset("0123456789+-.~nNtTfFyYoO")  # nothing but text begins with anything else

_NULLS = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_SLIPPERY_BOOLEAN = re.compile(r"(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)\Z")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+][0-9]+)?|\.[0-9]+(?:[eE][-+][0-9]+)?)\Z")
_NOT_FINITE = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
_SLIPPERY_NUMBER = re.compile(
    r"[-+]?(?:0[0-9_]+|0o[0-7_]+|0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?"
    r"|\.[0-9_]+(?:[eE][-+]?[0-9]+)?)\Z"
)
_ANY_NUMBER = re.compile("|".join(each.pattern for each in (_INTEGER, _FLOAT, _NOT_FINITE, _SLIPPERY_NUMBER)))

_LARGEST = 2**63


class Word(Enum):
    """The sorts of plain words."""

    TEXT = auto()
    NULL = auto()
    BOOLEAN = auto()
    INTEGER = auto()
    NUMBER = auto()
    NOT_FINITE = auto()
    SLIPPERY_BOOLEAN = auto()  # `no`: false in YAML 1.1, text in 1.2
    SLIPPERY_NUMBER = auto()  # `010`: eight in YAML 1.1, ten in 1.2


def sort_of(text: str) -> Word:
    """What the unquoted `text` is."""
    if text and text[0] not in _SUSPECTS:
        return Word.TEXT
    if text in _NULLS:
        return Word.NULL
    if text in _BOOLEANS:
        return Word.BOOLEAN
    if text[0] in "nNyYoOtTfF":
        return Word.SLIPPERY_BOOLEAN if _SLIPPERY_BOOLEAN.match(text) else Word.TEXT
    return _sort_of_number(text)


def _sort_of_number(text: str) -> Word:
    if not _ANY_NUMBER.match(text):  # an address, most of the time
        return Word.TEXT
    if _INTEGER.match(text):
        fits = len(text) <= 20 and -_LARGEST <= int(text) < _LARGEST
        return Word.INTEGER if fits else Word.SLIPPERY_NUMBER
    if _FLOAT.match(text):
        return Word.NUMBER if math.isfinite(float(text)) else Word.NOT_FINITE
    if _NOT_FINITE.match(text):
        return Word.NOT_FINITE
    return Word.SLIPPERY_NUMBER


def boolean(text: str) -> bool:
    """The value of a word of the sort `BOOLEAN`."""
    return _BOOLEANS[text]
