"""What verbs print that are about a change of git, and about what was built for it."""

from fleetctl.schemas import words as w
from fleetctl.schemas.fleet import HUB_COST, PLAN


def _figures(doc: str) -> w.JsonSchema:
    return w.maybe(
        w.record(
            doc,
            artifact=w.digest("its digest"),
            top1=w.number("of 1; of a detector, recall"),
            drop=w.number("against float32, of 1"),
            size=w.whole("of the model file, in bytes"),
            tpu_ops=w.maybe(w.number("share of operations on the Edge TPU, of 1")),
            off_chip_bytes=w.maybe(w.whole("of parameters that are streamed to the Edge TPU")),
            pending=w.truth("it is still to be compiled"),
        )
    )


PROPOSAL = w.document(
    "fleetctl.proposal/v1",
    "`fleetctl plan --base`: what the files here change against a commit, without asking a board.",
    base=w.text("full id of the commit"),
    head=w.text("full id of what is checked out, or `working tree`"),
    fleet=w.text("name"),
    waves=PLAN["properties"]["waves"],
    leaving=w.texts("boards that would no longer be managed"),
    unchanged=w.whole("boards that keep their release"),
    models=w.items(
        "variants whose bytes or numbers differ",
        w.record(
            model=w.text("name"),
            variant=w.text("name"),
            before=_figures("as the base's lock says; null where it does not have it"),
            after=_figures("as the lock says here; null where it does not have it"),
            boards=w.whole("that would run it"),
        ),
    ),
    settings=w.items(
        "values that no release holds: addresses, gates, proofs, waves, whom boards and we trust",
        w.record(
            place=w.text("such as `boards.luxor-01.host`"), before=w.text("was"), after=w.text("would be")
        ),
    ),
    dangers=w.items(
        "what is seldom meant",
        w.record(
            danger=w.word(
                "which",
                *("delete-boards", "remove-model", "lower-gate", "edited-lock", "trust", "many-boards"),
                "unreadable-base",
            ),
            what=w.text("in words"),
            allowed=w.truth("the change, or the commit that brought it, says that it is meant"),
            reason=w.maybe(w.text("why it is meant")),
            commit=w.text("full id of the one that brought it unasked, with `--commit-by-commit`; or empty"),
        ),
    ),
    iothub=HUB_COST,
    allow_left_over=w.texts("entries of `rollout.allow` that allow nothing in this change"),
    error=w.maybe(
        w.record(
            "why it cannot be said what boards would get", message=w.text("what"), hint=w.text("what to try")
        )
    ),
)
ARTIFACTS = w.document(
    "fleetctl.artifacts/v1",
    "`fleetctl artifacts`: what moved, or what a place lacks.",
    place=w.text("a folder, or oci://HOST/REPOSITORY"),
    artifacts=w.items(
        "of `check`, those that are not whole",
        w.record(
            model=w.text("name"),
            variant=w.text("name"),
            artifact=w.digest("its digest"),
            files=w.mapping("that moved, or are missing", w.whole("bytes")),
        ),
    ),
)
IMAGES = w.document(
    "fleetctl.images/v1",
    "`fleetctl artifacts images`: module images that the lock names.",
    registry=w.text("the repository that keeps them, or empty"),
    images=w.items(
        "in the order of the lock",
        w.record(
            model=w.text("name"),
            variant=w.text("name"),
            platform=w.text("such as `linux/arm64`"),
            digest=w.digest("that pins it"),
        ),
    ),
)
PRUNE = w.document(
    "fleetctl.prune/v1",
    "`fleetctl artifacts prune`: what may go, said before it goes.",
    bytes=w.whole("of all of it"),
    things=w.items(
        "in the order in which they go",
        w.record(
            kind=w.word("what it is", "build", "delta", "blob", "image layer", "download", "leftover"),
            path=w.text("from the fleet's folder"),
            bytes=w.whole("that it takes"),
            used=w.number("when last, in seconds since 1970"),
        ),
    ),
)
CHANGED = w.document(
    "fleetctl.changed/v1",
    "`fleetctl build --changed`: models and module images that the lock does not describe.",
    models=w.mapping(
        "by name",
        w.record(why=w.text("in words"), inputs=w.digest("of all that its bytes are a function of")),
    ),
    images=w.items(
        "of locked models, which boards over IoT Hub wait for",
        w.record(model=w.text("name"), variant=w.text("name"), platform=w.text("such as `linux/arm64`")),
    ),
)
