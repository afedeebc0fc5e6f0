"""What a `.tflite` file needs of whoever loads it."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fleetctl.checked_json import Node
from fleetctl.compatibility.operations import first_release
from fleetctl.compatibility.versions import Version
from fleetctl.manifest.schema import VariantName

EDGE_TPU_OPERATION = "edgetpu-custom-op"
_ANY = Version(0, 0)
_MOST_VERSIONS = 1_000


class Requirements(Struct, frozen=True):
    """Read off a model file. Hashable, so that verdicts can be kept.

    `operations` are the built-in operations with the newest version of each, sorted; `custom` the names of
    custom operations, without the Edge TPU's; `edgetpu` the oldest Edge TPU runtime that takes the compiled
    package, 0 where that is not known, None where nothing was compiled for an Edge TPU.
    """

    operations: tuple[tuple[str, int], ...] = ()
    custom: tuple[str, ...] = ()
    edgetpu: int | None = None

    @classmethod
    def of_variant(cls, variant: VariantName) -> "Requirements":
        """What can be said of a variant before it is built, or where its lock does not say."""
        return cls(edgetpu=0 if variant is VariantName.EDGETPU else None)

    @property
    def tflite(self) -> Version:
        """The oldest TensorFlow release whose TFLite has every operation in its version."""
        return max((first for _, _, first in self._dated()), default=_ANY)

    @property
    def decisive(self) -> tuple[tuple[str, int], ...]:
        """The operations that `tflite` follows from."""
        least = self.tflite
        return tuple((name, version) for name, version, first in self._dated() if first == least)

    def newer_than(self, tflite: Version) -> tuple[tuple[str, int], ...]:
        """The operations that a TFLite does not have in their version."""
        return tuple((name, version) for name, version, first in self._dated() if first > tflite)

    @property
    def unknown(self) -> tuple[tuple[str, int], ...]:
        """Operations of which nobody here knows which TFLite has them."""
        return tuple(pair for pair in self.operations if first_release(*pair) is None)

    def __str__(self) -> str:
        tflite = "any TFLite" if self.tflite == _ANY else f"TFLite {self.tflite}"
        if self.unknown:
            tflite = "a TFLite that fleetctl does not know"
        return tflite + (f" and Edge TPU runtime {self.edgetpu}" if self.edgetpu else "")

    def _dated(self) -> list[tuple[str, int, Version]]:
        dated = ((name, version, first_release(name, version)) for name, version in self.operations)
        return [(name, version, first) for name, version, first in dated if first is not None]

    def to_json(self) -> dict[str, Any]:
        """What the lock keeps: versions of operations, from which the rest follows."""
        return {
            "operations": dict(self.operations),
            "custom": list(self.custom),
            "edgetpu": self.edgetpu,
        }

    @classmethod
    def from_json(cls, node: Node) -> "Requirements":
        """Read what `to_json` wrote.

        Raises:
            Malformed: it is something else.
        """
        edgetpu = node.optional("edgetpu")
        return cls.of(
            {name: _version(child) for name, child in node.key("operations").items()},
            [child.text() for child in node.key("custom").elements()],
            edgetpu.integer(least=0) if edgetpu else None,
        )

    @classmethod
    def of(cls, operations: Mapping[str, int], custom: list[str], edgetpu: int | None) -> "Requirements":
        """Requirements in their one order, the Edge TPU's own custom operation left out."""
        others = sorted({name for name in custom if name != EDGE_TPU_OPERATION})
        return cls(tuple(sorted(operations.items())), tuple(others), edgetpu)


def _version(node: Node) -> int:
    version = node.integer(least=1)
    if version > _MOST_VERSIONS:
        node.refuse(f"expected at most {_MOST_VERSIONS}, got {version}")
    return version
