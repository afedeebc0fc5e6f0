"""Gardiner's sign list: which code names which character, and the signs models are usually trained on.

Unicode names each sign by its code (`EGYPTIAN HIEROGLYPH A001` is A1), so the list needs no table of its own.
"""

import re
import unicodedata
from functools import lru_cache

from fleetctl.errors import BuildError

UNKNOWN = "UNKNOWN"

_BLOCK = range(0x13000, 0x13430)
_NAME = re.compile(r"EGYPTIAN HIEROGLYPH (AA|NL|NU|[A-Z])0*([0-9]+)([A-Z]?)")

# The signs of Franken's photos from the Pyramid of Unas (ACM Multimedia 2013) that Unicode has by that code.
_USUAL = """
    A55 Aa15 Aa26 Aa27 Aa28 D1 D2 D4 D10 D19 D21 D28 D34 D35 D36 D39 D46 D52 D53 D54 D56 D58 D60 D62
    E1 E9 E17 E23 E34 F4 F9 F12 F13 F16 F18 F21 F22 F23 F26 F29 F30 F31 F32 F34 F35 F40
    G1 G4 G5 G7 G10 G14 G17 G21 G25 G26 G29 G35 G36 G37 G39 G40 G43 G50 H6 I9 I10 L1
    M1 M3 M4 M8 M12 M16 M17 M18 M20 M23 M26 M29 M40 M42 M44
    N1 N2 N5 N14 N16 N17 N18 N19 N24 N25 N26 N29 N30 N31 N35 N36 N37 N41
    O1 O4 O11 O28 O29 O31 O34 O49 O50 O51 P1 P6 P8 Q1 Q3 Q7 R4 R8 S24 S28 S29 S34
    T14 T20 T21 T22 T28 T30 U1 U7 U15 U28 U33 V4 V6 V7 V13 V16 V22 V24 V25 V28 V30 V31
    W11 W14 W15 W18 W19 W22 W24 W25 X1 X6 X8 Y1 Y2 Y3 Y5 Z1 Z7 Z11
"""
USUAL_SIGNS: tuple[str, ...] = tuple(_USUAL.split())
# Signs of those photos that only longer lists have (Hieroglyphica, Grimal et al. 2000).
BEYOND_UNICODE = ("D156", "M195", "P13", "P98")


_CODE = re.compile(r"(?:[A-Z]|Aa|NL|NU)[1-9][0-9]{0,2}[A-Za-z]{0,2}")


def is_code(label: str) -> bool:
    """Whether a label has the form of a Gardiner code; sign lists differ, so Unicode need not have it."""
    return _CODE.fullmatch(label) is not None


def demand_sign(place: object, label: str) -> None:
    """Refuse a label that is neither a sign nor `UNKNOWN`: it is most often a slip (g17, G17-copy).

    Raises:
        BuildError: naming `place`, where the label is, and the sign that is meant.
    """
    if label != UNKNOWN and not is_code(label):
        raise BuildError(
            f"{place} names the sign {label!r}, which is no Gardiner code{_meant(label)}",
            hint=f"use codes such as G17 or Aa15, and {UNKNOWN} for a sign nobody can read",
        )


def _meant(label: str) -> str:
    known = (*characters(), *BEYOND_UNICODE, UNKNOWN)
    close = {code.lower(): code for code in known}.get(label.lower())
    return f"; did you mean {close}?" if close else ""


@lru_cache(maxsize=1)
def characters() -> dict[str, str]:
    """Every Gardiner code Unicode names, such as `A1`, `Aa15` or `G7a`, with its character."""
    found = {}
    for point in _BLOCK:
        match = _NAME.fullmatch(unicodedata.name(chr(point), ""))
        if match:
            category, number, variant = match.groups()
            found[category.replace("AA", "Aa") + number + variant.lower()] = chr(point)
    return found
