"""Every kind of board against one model file: what runs where, as boards come."""

from collections.abc import Iterator

from msgspec import Struct

from fleetctl.compatibility.hardware import HARDWARE
from fleetctl.compatibility.offer import offer_of
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.rules import Refusal, judge
from fleetctl.manifest.schema import Accelerator, Attached, Board, BoardKind, VariantName


class Place(Struct, frozen=True):
    """A kind of board with what is plugged into it."""

    kind: BoardKind
    attached: Attached

    def __str__(self) -> str:
        return self.kind if self.attached is Attached.NONE else f"{self.kind} + {self.attached}"

    def refusals(self, needs: Requirements) -> tuple[Refusal, ...]:
        """What speaks against a model there; nothing is known but what the kind comes with."""
        board = Board(self.kind, self.kind, "", VariantName.INT8, attached=self.attached)
        return judge(needs, offer_of(board), Accelerator.PREFERRED)


def places() -> Iterator[Place]:
    """Every kind as it comes, and with each accelerator it has a socket for where none is soldered on."""
    for kind, hardware in HARDWARE.items():
        yield Place(kind, Attached.NONE)
        if not kind.has_edge_tpu:
            yield from (Place(kind, each) for each in Attached if each in hardware.sockets)
