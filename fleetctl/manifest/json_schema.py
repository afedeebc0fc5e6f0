"""The manifest's JSON Schema, draft 2020-12, for editors and CI: generated, never written by hand.

It says what can be said of one document. References, coverage by waves, uniqueness across files, and whether
merged settings fit together are for `fleetctl validate` alone.
"""

import json
from typing import Any

from fleetctl.manifest.document import FLEET, GROUP, PART, SETTINGS
from fleetctl.manifest.model_rules import MODEL


def json_schema() -> dict[str, Any]:
    """The schema of fleet.yaml; that of included files is at `#/$defs/part`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fleetctl manifest",
        "description": "A fleet of boards: the models they run, their settings, and how releases reach them.",
        **FLEET.json_schema(),
        "$defs": {
            "board": SETTINGS.json_schema(),
            "group": GROUP.json_schema(),
            "model": MODEL.json_schema(),
            "part": PART.json_schema(),
        },
    }


def json_schema_text() -> str:
    """The bytes of inventory/schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
