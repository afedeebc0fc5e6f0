"""What verbs print that are about the manifest, a plan, or changing boards."""

from fleetctl.schemas import words as w

VALIDATE = w.partly(
    w.document(
        "fleetctl.validate/v1",
        "`fleetctl validate`: the manifest's problems; where it is valid, what it holds.",
        valid=w.truth("there is no problem"),
        problems=w.items(
            "every mistake, by place",
            w.record(
                file=w.text("as it was named"),
                line=w.whole("from 1; 0 means the file as a whole"),
                column=w.whole("from 1; 0 means the line as a whole"),
                path=w.text("place inside the document, such as `boards.luxor-01.model`"),
                what=w.text("what is wrong"),
                hint=w.text("what to try, or empty"),
            ),
        ),
        boards=w.whole("how many"),
        models=w.whole("how many"),
        groups=w.whole("how many"),
        waves=w.whole("how many"),
        digest=w.digest("over the bytes of every file read"),
    ),
    "boards",
    "models",
    "groups",
    "waves",
    "digest",
)

EXPLAIN = w.document(
    "fleetctl.explain/v1",
    "`fleetctl explain`: each setting of a board, and where it was set.",
    board=w.text("name"),
    settings=w.items(
        "in the order of the manual",
        w.record(
            key=w.text("dotted, such as `config.threshold`"),
            value=w.anything("as YAML reads it"),
            layer=w.text("`default`, `defaults`, `group NAME` or `board NAME`"),
            file=w.text("empty where nobody set it"),
            line=w.whole("from 1; 0 where nobody set it"),
        ),
    ),
)

RENDER = w.document(
    "fleetctl.render/v1",
    "`fleetctl render`: what a board's release is made of.",
    board=w.text("name"),
    release=w.digest("of the release"),
    files=w.mapping(
        "path in the release to its bytes", w.record(sha256=w.digest("of the file"), size=w.whole("bytes"))
    ),
    rendered=w.mapping("path to text, of those made for this board alone", w.text("the file")),
)

HUB_COST = w.maybe(
    w.record(
        "what it asks of the manifest's IoT Hub; null where no board is reached over one",
        boards=w.whole("that are reached over it"),
        deployments=w.whole("that it has to have room for, at least"),
        calls=w.whole("of all kinds, about"),
        minutes=w.number("that its rates make them take, at least"),
        tier=w.text("how large the hub is"),
        units=w.whole("how many units of that it has"),
    )
)
PLAN = w.document(
    "fleetctl.plan/v1",
    "`fleetctl plan`: what a rollout would do, wave by wave. `plan --save` writes the same without `digest` "
    "and `iothub`.",
    digest=w.digest("two plans with one digest do the same to the same boards"),
    fleet=w.text("name"),
    waves=w.items(
        "in order; waves without a selected board are left out",
        w.record(
            number=w.whole("from 1; wave 1 is the canary"),
            name=w.text("a group, or a percentage"),
            soak=w.number("seconds of watching before its gate"),
            boards=w.per_board(
                "in the order of the manifest",
                action=w.word(
                    "what is to be done",
                    *("nothing", "install", "update", "reprove", "defer", "blocked", "refused"),
                ),
                reasons=w.texts("why"),
                current=w.maybe(w.digest("the release that it has")),
                desired=w.digest("the release that git says"),
                send_bytes=w.whole("of files that its current release lacks"),
                fixes=w.texts("what to do where it is refused"),
            ),
        ),
    ),
    iothub=HUB_COST,
)

_VERDICTS = ("verified", "rolled_back", "rollback_failed", "deferred", "inconclusive", "untouched")
ROLLOUT = w.document(
    "fleetctl.rollout/v1",
    "`fleetctl rollout`: how it ended, board by board.",
    commit=w.text("that was rolled out; `none` outside of git, with `-dirty` where files differ from it"),
    outcome=w.maybe(w.word("how the rollout ended", "done", "paused", "failed", "aborted")),
    reason=w.text("what a gate said last, or empty"),
    counts=w.record("boards by verdict", **{verdict: w.whole("how many") for verdict in _VERDICTS}),
    boards=w.per_board(
        "every board of the plan",
        verdict=w.word("how it ended", *_VERDICTS),
        reasons=w.texts("why"),
        receipt=w.anything("the board's own, untrusted; see the board protocol"),
    ),
)

STEERING = w.document(
    "fleetctl.steering/v1",
    "`fleetctl pause`, `resume` and `abort`: what was asked of the rollout that is under way.",
    asked=w.word("what", "pause", "resume", "abort"),
    by=w.text("who asked"),
    rollout=w.text("what is under way, in words"),
    pid=w.whole("of the process that is at work"),
    since=w.number("when it began, in seconds since 1970"),
    boards=w.whole("that it is to change; those of its journal"),
)

SHARD = w.document(
    "fleetctl.shard/v1",
    "`fleetctl rollout --shard --result FILE`: what became of a shard of a wave, for `--join` to judge.",
    commit=w.text("that was rolled out"),
    shard=w.text("which of how many, such as `3/8`"),
    plan=w.record(
        "what was to be done: one wave, with the boards of this shard",
        fleet=PLAN["properties"]["fleet"],
        waves=PLAN["properties"]["waves"],
    ),
    verdicts=ROLLOUT["properties"]["boards"],
)

LEAVE = w.document(
    "fleetctl.leave/v1",
    "`fleetctl leave`: which boards were given back.",
    boards=w.per_board(
        "each that was asked",
        left=w.truth("what ran before fleetctl runs again, or nothing"),
        restored=w.texts("paths that came back from the snapshot"),
        snapshot=w.maybe(w.text("file on the board with what was there at the first release")),
        error=w.text("why it was not left, or empty"),
    ),
)
BOOTSTRAP = w.document(
    "fleetctl.bootstrap/v1",
    "`fleetctl bootstrap`: what was made of each board.",
    boards=w.per_board(
        "each that was asked",
        ok=w.truth("it is fit for releases"),
        platform=w.maybe(w.text("which wheels it takes")),
        changed=w.texts("what was done to it; of `--check`, nothing"),
        exposure=w.maybe(w.number("of the service's unit, by systemd: 0 to 10, less is better")),
        checks=w.items(
            "what has to be so before anything is changed",
            w.record(
                name=w.text("what was looked at"),
                ok=w.truth("it is so"),
                detail=w.text("what was seen"),
                hint=w.text("what to do, or empty"),
            ),
        ),
        error=w.text("why it could not be done, or empty"),
        hint=w.text("what to try, or empty"),
    ),
)
KEYS = w.document(
    "fleetctl.keys/v1",
    "`fleetctl keys`: whose signature boards are to demand.",
    keys=w.items(
        "in inventory/trust",
        w.record(
            name=w.text("of its file"),
            fingerprint=w.digest("of its DER form"),
            here=w.truth("the environment names the private half"),
        ),
    ),
)

ROLLBACK = w.document(
    "fleetctl.rollback/v1",
    "`fleetctl rollback`: which boards went back.",
    boards=w.per_board(
        "each that was asked",
        rolled_back=w.truth("it runs the older release"),
        release=w.maybe(w.text("that it runs now")),
        error=w.text("why it did not go back, or empty"),
    ),
)
