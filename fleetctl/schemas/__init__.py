"""The JSON that fleetctl prints, as JSON Schema: by the name that stands under `schema` in each document."""

from collections.abc import Mapping

from fleetctl.schemas import boards
from fleetctl.schemas.words import JsonSchema

SCHEMAS: Mapping[str, JsonSchema] = {
    schema["title"]: schema for schema in (boards.STATUS, boards.DRIFT, boards.DOCTOR)
}


def short_name(schema: str) -> str:
    """`status` for `fleetctl.status/v1`: what `fleetctl schema` takes."""
    return schema.removeprefix("fleetctl.").partition("/")[0]
