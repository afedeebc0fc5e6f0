"""What a card is about: one model as the manifest describes it, as it is locked, and as it was measured."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from fleetctl.lockfile import LockedModel
from fleetctl.manifest.schema import Model, VariantName
from fleetctl.models.card.record import Measurements, VariantRecord

# Whose numbers stand for the model: what most boards run, first.
_MAIN = (VariantName.INT8, VariantName.INT8_QAT, VariantName.EDGETPU)


class Subject(Struct, frozen=True):
    """`contracts` are parsed `contract.json` and `models` are `model.tflite`, by locked variant."""

    model: Model
    locked: LockedModel
    measured: Measurements
    contracts: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, bytes]

    @property
    def main(self) -> str:
        """The variant whose numbers stand for the model."""
        names = list(self.locked.variants)
        return next((name for name in _MAIN if name in names), names[-1])

    @property
    def main_record(self) -> VariantRecord:
        return self.measured.variants[self.main]
