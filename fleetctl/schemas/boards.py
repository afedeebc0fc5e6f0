"""What verbs print that ask boards."""

from fleetctl.schemas.words import (
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

DRIFT = document(
    "fleetctl.drift/v1",
    "`fleetctl drift`: what differs between git, the files on each board, and what its process has loaded.",
    boards=items(
        "one for each selected board, in the order of the manifest",
        record(
            board=text("name"),
            clean=truth("it was asked, and nothing differs but what the manifest leaves aside"),
            unknown=maybe(text("why it could not be asked")),
            drifts=items(
                "the differences",
                record(
                    kind=word("of what sort", "release", "model", "config", "file", "unit", "service"),
                    what=text("path in the release or of a unit, config name, `release`, `service` or `accelerator`"),
                    declared=maybe(text("digest or value that git says")),
                    files=maybe(text("digest or value on the board's disk")),
                    loaded=maybe(text("digest or value in the serving process")),
                    since=maybe(text("ISO 8601; by git, or by the board's clock")),
                    by=maybe(text("author of the commit, owner of the altered file, or `the board`")),
                    how=maybe(text("how it came about, in words")),
                    ignored=maybe(text("the reason that the manifest gives for leaving it aside")),
                ),
            ),
        ),
    ),
    heal=maybe(text("the command that brings them back; null where there is nothing to bring back")),
)
STATUS = document(
    "fleetctl.status/v1",
    "`fleetctl status`: whether each board does what git says, in the order of the manifest.",
    boards=items(
        "one for each selected board",
        record(
            board=text("name"),
            healthy=truth("it does what git says, and nothing strains it"),
            standing=word("how it stands, worst first", "wrong", "offline", "strained", "healthy"),
            troubles=texts("everything that speaks against it, the worst first"),
            reach=word("whether it could be asked", "reached", "offline", "refused", "failed"),
            source=word("who says what it runs", "service", "files", "nobody"),
            desired=maybe(digest("release that git says; null where the lock does not say")),
            current=maybe(digest("release that its files point at")),
            loaded=maybe(text("release that its serving process says it has in memory")),
            model_sha256=maybe(text("the model in the memory of that process")),
            accelerator=maybe(text("what that process runs on, such as `cpu` or `edgetpu`")),
            service=text("`running`, `stopped`, `absent` or another word of its service manager"),
            asked=maybe(text("when it answered, by its own clock")),
            since=maybe(text("when the serving process loaded what it has, by the board's clock")),
            serving_s=maybe(number("seconds since then")),
            proved_s=maybe(number("seconds since the loaded release last passed its proof")),
            p95_ms=maybe(number("latency in that proof, 95th percentile")),
            temperature_c=maybe(number("hottest sensor")),
            throttled=maybe(truth("throttled or under-voltage now")),
            disk_free_bytes=maybe(whole("where releases are kept")),
            memory_free_bytes=maybe(whole("that programs could still have")),
            last_outcome=maybe(
                text("how its last activation ended, and of which release if not the loaded one")
            ),
            commit=maybe(text("git commit of its last receipt")),
            trusts=maybe(
                texts("keys whose signature it demands, by fingerprint; null: it takes any release")
            ),
            serial=maybe(whole("the place in git's history of the last signed release that it confirmed")),
        ),
    ),
)
DOCTOR = document(
    "fleetctl.doctor/v1",
    "`fleetctl doctor`: one board in detail.",
    board=text("name"),
    healthy=truth("no check is bad"),
    checks=items(
        "in a fixed order",
        record(
            check=text("what was looked at, such as `power` or `accelerator`"),
            grade=word("how it ended, worst first", "bad", "warn", "unknown", "good"),
            seen=text("what was seen, in words"),
            advice=maybe(text("what to do about it")),
            remedies=items(
                "rungs of the ladder for a stuck accelerator, in the order in which to try them",
                word("a value of `--remedy`", "restart-service", "reset-usb", "reboot"),
            ),
        ),
    ),
)

SMOKE = document(
    "fleetctl.smoke/v1",
    "`fleetctl smoke`: the golden questions asked anew, trouble first.",
    boards=items(
        "each that answered",
        record(
            board=text("name"),
            outcome=text("`passed`, `failed`, `inconclusive`, or how asking it ended"),
            agreement=maybe(number("share of golden samples that agree, 0 to 1")),
            p95_ms=maybe(number("latency, 95th percentile")),
            reasons=texts("why it did not pass"),
        ),
    ),
)
HISTORY = document(
    "fleetctl.history/v1",
    "`fleetctl history`: what boards ran and proved, newest first.",
    receipts=items("as the boards keep them, untrusted; see the board protocol", {"type": "object"}),
)
LOGS = document(
    "fleetctl.logs/v1",
    "`fleetctl logs`: the last lines of services.",
    boards=mapping("name to lines; a board that did not answer is left out", texts("oldest first")),
)
EXEC = document(
    "fleetctl.exec/v1",
    "`fleetctl exec`: a command on each board.",
    command=text("as a shell line"),
    boards=items(
        "in the order of the manifest",
        record(
            board=text("name"),
            exit=maybe(whole("null where a signal ended it, or the board did not answer")),
            stdout=maybe(text("what it wrote")),
            stderr=maybe(text("what it complained about")),
            error=text("why the board did not answer, or empty"),
        ),
    ),
)
