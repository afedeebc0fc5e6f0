"""What verbs print that are about a change of git, and about what was built for it."""

from fleetctl.schemas.fleet import HUB_COST, PLAN
from fleetctl.schemas.words import (
    JsonSchema,
    digest,
    document,
    items,
    mapping,
    maybe,
    number,
    record,
    text,
    texts,
    truth,
    whole,
    word,
)


def _figures(doc: str) -> JsonSchema:
    return maybe(
        record(
            doc,
            artifact=digest("its digest"),
            top1=number("of 1; of a detector, recall"),
            drop=number("against float32, of 1"),
            size=whole("of the model file, in bytes"),
            tpu_ops=maybe(number("share of operations on the Edge TPU, of 1")),
            off_chip_bytes=maybe(whole("of parameters that are streamed to the Edge TPU")),
            pending=truth("it is still to be compiled"),
        )
    )


PROPOSAL = document(
    "fleetctl.proposal/v1",
    "`fleetctl plan --base`: what the files here change against a commit, without asking a board.",
    base=text("full id of the commit"),
    head=text("full id of what is checked out, or `working tree`"),
    fleet=text("name"),
    waves=PLAN["properties"]["waves"],
    leaving=texts("boards that would no longer be managed"),
    unchanged=whole("boards that keep their release"),
    models=items(
        "variants whose bytes or numbers differ",
        record(
            model=text("name"),
            variant=text("name"),
            before=_figures("as the base's lock says; null where it does not have it"),
            after=_figures("as the lock says here; null where it does not have it"),
            boards=whole("that would run it"),
        ),
    ),
    settings=items(
        "values that no release holds: addresses, gates, proofs, waves",
        record(place=text("such as `boards.luxor-01.host`"), before=text("was"), after=text("would be")),
    ),
    dangers=items(
        "what is seldom meant",
        record(
            danger=word(
                "which",
                *("delete-boards", "remove-model", "lower-gate", "edited-lock", "many-boards"),
                "unreadable-base",
            ),
            what=text("in words"),
            allowed=truth("the change itself says that it is meant"),
            reason=maybe(text("why it is meant")),
        ),
    ),
    iothub=HUB_COST,
    allow_left_over=texts("entries of `rollout.allow` that allow nothing in this change"),
    error=maybe(
        record("why it cannot be said what boards would get", message=text("what"), hint=text("what to try"))
    ),
)
ARTIFACTS = document(
    "fleetctl.artifacts/v1",
    "`fleetctl artifacts`: what moved, or what a place lacks.",
    place=text("a folder, or oci://HOST/REPOSITORY"),
    artifacts=items(
        "of `check`, those that are not whole",
        record(
            model=text("name"),
            variant=text("name"),
            artifact=digest("its digest"),
            files=mapping("that moved, or are missing", whole("bytes")),
        ),
    ),
)
IMAGES = document(
    "fleetctl.images/v1",
    "`fleetctl artifacts images`: module images that the lock names.",
    registry=text("the repository that keeps them, or empty"),
    images=items(
        "in the order of the lock",
        record(
            model=text("name"),
            variant=text("name"),
            platform=text("such as `linux/arm64`"),
            digest=digest("that pins it"),
        ),
    ),
)
CHANGED = document(
    "fleetctl.changed/v1",
    "`fleetctl build --changed`: models that the lock does not describe.",
    models=mapping(
        "by name", record(why=text("in words"), inputs=digest("of all that its bytes are a function of"))
    ),
)
