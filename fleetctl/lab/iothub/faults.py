"""How a hub misbehaves on demand: each fault hits the next calls, so many of them, and is then spent."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.lab.iothub.refusal import bad_argument


class Faults(Struct):
    """How many calls to come are hit. `slow` is in seconds, and lasts."""

    throttle: int = 0  # answered 429 with Retry-After: 1
    drop: int = 0  # the connection is cut without an answer
    drop_after: int = 0  # carried out, and cut before the answer
    errors: int = 0  # answered 500
    conflicts: int = 0  # conditional writes find that another was faster
    slow: float = 0.0  # seconds that every call takes longer

    def hits(self, name: str) -> bool:
        """Whether this call is hit; counts down."""
        left: int = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0

    def change(self, wishes: Mapping[str, Any]) -> None:
        """Set some of them.

        Raises:
            HubRefusal: there is no such fault, or the number is none.
        """
        for name, value in wishes.items():
            if (
                name not in self.__struct_fields__
                or not isinstance(value, int | float)
                or isinstance(value, bool)
                or value < 0
            ):
                known = ", ".join(sorted(self.__struct_fields__))
                raise bad_argument(f"{name}: {value!r} is no fault; there are {known}")
            setattr(self, name, float(value) if name == "slow" else int(value))

    def document(self) -> dict[str, float]:
        return asdict(self)
