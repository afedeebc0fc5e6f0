"""What verbs print that are about the manifest, a plan, or changing boards."""

from fleetctl.schemas.words import (
    anything,
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

VALIDATE = document(
    "fleetctl.validate/v1",
    "`fleetctl validate`: the manifest's problems, or what it holds: counts and digest where it is valid.",
    valid=truth("there is no problem"),
    problems=items(
        "every mistake, by place",
        record(
            file=text("as it was named"),
            line=whole("from 1; 0 means the file as a whole"),
            column=whole("from 1; 0 means the line as a whole"),
            path=text("place inside the document, such as `boards.luxor-01.model`"),
            what=text("what is wrong"),
            hint=text("what to try, or empty"),
        ),
    ),
    boards=whole("how many"),
    models=whole("how many"),
    groups=whole("how many"),
    waves=whole("how many"),
    digest=digest("over the bytes of every file read"),
)
VALIDATE["required"] = ["schema", "valid", "problems"]

EXPLAIN = document(
    "fleetctl.explain/v1",
    "`fleetctl explain`: each setting of a board, and where it was set.",
    board=text("name"),
    settings=items(
        "in the order of the manual",
        record(
            key=text("dotted, such as `config.threshold`"),
            value=anything("as YAML reads it"),
            layer=text("`default`, `defaults`, `group NAME` or `board NAME`"),
            file=text("empty where nobody set it"),
            line=whole("from 1; 0 where nobody set it"),
        ),
    ),
)

RENDER = document(
    "fleetctl.render/v1",
    "`fleetctl render`: what a board's release is made of.",
    board=text("name"),
    release=digest("of the release"),
    files=mapping(
        "path in the release to its bytes", record(sha256=digest("of the file"), size=whole("bytes"))
    ),
    rendered=mapping("path to text, of those made for this board alone", text("the file")),
)

HUB_COST = maybe(
    record(
        "what it asks of the manifest's IoT Hub; null where no board is reached over one",
        boards=whole("that are reached over it"),
        deployments=whole("that it has to have room for, at least"),
        calls=whole("of all kinds, about"),
        minutes=number("that its rates make them take, at least"),
        tier=text("how large the hub is"),
        units=whole("how many units of that it has"),
    )
)
PLAN = document(
    "fleetctl.plan/v1",
    "`fleetctl plan`: what a rollout would do, wave by wave. `plan --save` writes the same without `digest` "
    "and `iothub`.",
    digest=digest("two plans with one digest do the same to the same boards"),
    fleet=text("name"),
    waves=items(
        "in order; waves without a selected board are left out",
        record(
            number=whole("from 1; wave 1 is the canary"),
            name=text("a group, or a percentage"),
            soak=number("seconds of watching before its gate"),
            boards=items(
                "in the order of the manifest",
                record(
                    board=text("name"),
                    action=word(
                        "what is to be done",
                        *("nothing", "install", "update", "reprove", "defer", "blocked", "refused"),
                    ),
                    reasons=texts("why"),
                    current=maybe(digest("the release that it has")),
                    desired=digest("the release that git says"),
                    send_bytes=whole("of files that its current release lacks"),
                    fixes=texts("what to do where it is refused"),
                ),
            ),
        ),
    ),
    iothub=HUB_COST,
)

_VERDICTS = ("verified", "rolled_back", "rollback_failed", "deferred", "inconclusive", "untouched")
ROLLOUT = document(
    "fleetctl.rollout/v1",
    "`fleetctl rollout`: how it ended, board by board.",
    commit=text("that was rolled out; `none` outside of git, with `-dirty` where files differ from it"),
    outcome=maybe(word("how the rollout ended", "done", "paused", "failed", "aborted")),
    reason=text("what a gate said last, or empty"),
    counts=record("boards by verdict", **{verdict: whole("how many") for verdict in _VERDICTS}),
    boards=items(
        "every board of the plan",
        record(
            board=text("name"),
            verdict=word("how it ended", *_VERDICTS),
            reasons=texts("why"),
            receipt=anything("the board's own, untrusted; see the board protocol"),
        ),
    ),
)

STEERING = document(
    "fleetctl.steering/v1",
    "`fleetctl pause`, `resume` and `abort`: what was asked of the rollout that is under way.",
    asked=word("what", "pause", "resume", "abort"),
    by=text("who asked"),
    rollout=text("what is under way, in words"),
    pid=whole("of the process that is at work"),
    since=number("when it began, in seconds since 1970"),
    boards=whole("that it is to change; those of its journal"),
)

SHARD = document(
    "fleetctl.shard/v1",
    "`fleetctl rollout --shard --result FILE`: what became of a shard of a wave, for `--join` to judge.",
    commit=text("that was rolled out"),
    shard=text("which of how many, such as `3/8`"),
    plan=record(
        "what was to be done: one wave, with the boards of this shard",
        fleet=PLAN["properties"]["fleet"],
        waves=PLAN["properties"]["waves"],
    ),
    verdicts=ROLLOUT["properties"]["boards"],
)

ROLLBACK = document(
    "fleetctl.rollback/v1",
    "`fleetctl rollback`: which boards went back.",
    boards=items(
        "each that was asked",
        record(
            board=text("name"),
            rolled_back=truth("it runs the older release"),
            release=maybe(text("that it runs now")),
            error=text("why it did not go back, or empty"),
        ),
    ),
)
