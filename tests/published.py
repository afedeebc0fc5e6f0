"""What fleetctl prints for machines, held against the schema that it names."""

import json
from dataclasses import dataclass
from typing import Any

import jsonschema

from fleetctl.schemas import SCHEMAS


def published(text: str) -> Any:
    """The document, which is neither more nor less than its schema says."""
    document = json.loads(text)
    jsonschema.validate(document, SCHEMAS[document["schema"]])
    return document


@dataclass(frozen=True)
class Said:
    """How a command line ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return published(self.out)
