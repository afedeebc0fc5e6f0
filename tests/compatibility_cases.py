"""Boards, needs and reports as the cases and properties of compatibility write them."""

from collections.abc import Mapping
from typing import Any

from fleetctl.compatibility.offer import Reported
from fleetctl.compatibility.packages import parse_interpreter, parse_library
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.versions import parse_version
from fleetctl.manifest.schema import Accelerator, Attached, Board, BoardKind, VariantName


def board_of(settings: Mapping[str, Any]) -> Board:
    """A board with these settings of the manifest."""
    plain = {key: value for key, value in settings.items() if key in ("runtime", "python")}
    return Board(
        "luxor-01",
        BoardKind(settings["board"]),
        "reader",
        VariantName.INT8,
        attached=Attached(settings.get("attached", "none")),
        accelerator=Accelerator(settings.get("accelerator", "none")),
        **plain,
    )


def needs_of(data: Mapping[str, Any]) -> Requirements:
    """What a model file needs."""
    return Requirements.of(data.get("operations", {}), data.get("custom", []), data.get("edgetpu"))


def reported_of(data: Mapping[str, Any]) -> Reported:
    """What a board reports, its versions as text."""
    facts = dict(data)
    tflite, library, python = (facts.pop(key, "") for key in ("tflite", "libedgetpu", "python"))
    return Reported(
        interpreter=parse_interpreter(tflite),
        library=parse_library(library),
        python=parse_version(python),
        **facts,
    )
