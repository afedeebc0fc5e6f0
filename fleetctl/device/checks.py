"""What a judgement is made of: one check for each thing that was measured, and numbers nobody trusts yet."""

from __future__ import annotations

import math
from typing import Any, Dict, Mapping, Optional

Json = Mapping[str, Any]


class Check:
    """One thing that was measured, and the limit it was held against."""

    def __init__(self, name: str, passed: bool, measured: Any, limit: Any, reason: str = "") -> None:
        self.name = name
        self.passed = passed
        self.measured = measured
        self.limit = limit
        self.reason = reason  # one clause, said when the check failed

    def to_json(self) -> Dict[str, Any]:
        return {"name": self.name, "passed": self.passed, "measured": self.measured, "limit": self.limit}


def mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}


def finite(value: Any) -> Optional[float]:
    """A finite number, or None; True and 10**400 are not numbers here."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def percent(value: Optional[float]) -> str:
    return "an unknown share" if value is None else f"{value:.0%}"


def figure(value: Optional[float]) -> str:
    if value is None:
        return "unknown"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
