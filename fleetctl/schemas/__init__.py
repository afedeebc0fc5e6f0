"""The JSON that fleetctl prints, as JSON Schema: by the name that stands under `schema` in each document."""

from collections.abc import Mapping

from fleetctl.schemas import boards, changes, fleet, lab, models
from fleetctl.schemas.words import JsonSchema

_ALL = (
    *(boards.STATUS, boards.DRIFT, boards.DOCTOR, boards.SMOKE, boards.HISTORY, boards.LOGS, boards.EXEC),
    *(changes.PROPOSAL, changes.ARTIFACTS, changes.IMAGES, changes.PRUNE, changes.CHANGED),
    *(fleet.VALIDATE, fleet.EXPLAIN, fleet.RENDER, fleet.PLAN),
    *(fleet.ROLLOUT, fleet.SHARD, fleet.STEERING, fleet.ROLLBACK),
    *(fleet.LEAVE, fleet.BOOTSTRAP, fleet.KEYS),
    *(models.BUILD, models.COMPARISON, models.COMPATIBLE, models.DETECTIONS, models.EVALUATION),
    *(models.EDGETPU_CHECK, models.EDGETPU_INSPECT),
    *(lab.STATUS, lab.IOTHUB, lab.CERTIFICATE),
)
SCHEMAS: Mapping[str, JsonSchema] = {schema["title"]: schema for schema in _ALL}


def short_name(schema: str) -> str:
    """`status` for `fleetctl.status/v1`: what `fleetctl schema` takes."""
    return schema.removeprefix("fleetctl.").partition("/")[0]
