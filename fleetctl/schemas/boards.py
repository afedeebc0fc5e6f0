"""What verbs print that ask boards."""

from fleetctl.schemas import words as w

DRIFT = w.document(
    "fleetctl.drift/v1",
    "`fleetctl drift`: what differs between git, the files on each board, and what its process has loaded.",
    boards=w.per_board(
        "one for each selected board, in the order of the manifest",
        clean=w.truth("it was asked, and nothing differs but what the manifest leaves aside"),
        unknown=w.maybe(w.text("why it could not be asked")),
        drifts=w.items(
            "the differences",
            w.record(
                kind=w.word("of what sort", "release", "model", "config", "file", "unit", "service"),
                what=w.text(
                    "path in the release or of a unit, config name, `release`, `service` or `accelerator`"
                ),
                declared=w.maybe(w.text("digest or value that git says")),
                files=w.maybe(w.text("digest or value on the board's disk")),
                loaded=w.maybe(w.text("digest or value in the serving process")),
                since=w.maybe(w.text("ISO 8601; by git, or by the board's clock")),
                by=w.maybe(w.text("author of the commit, owner of the altered file, or `the board`")),
                how=w.maybe(w.text("how it came about, in words")),
                ignored=w.maybe(w.text("the reason that the manifest gives for leaving it aside")),
            ),
        ),
    ),
    heal=w.maybe(w.text("the command that brings back what a rollout can; null where that is nothing")),
)
STATUS = w.document(
    "fleetctl.status/v1",
    "`fleetctl status`: whether each board does what git says, in the order of the manifest.",
    boards=w.per_board(
        "one for each selected board",
        healthy=w.truth("it does what git says, and nothing strains it"),
        standing=w.word("how it stands, worst first", "wrong", "offline", "strained", "healthy"),
        troubles=w.texts("everything that speaks against it, the worst first"),
        reach=w.word("whether it could be asked", "reached", "offline", "refused", "failed"),
        source=w.word("who says what it runs", "service", "files", "nobody"),
        desired=w.maybe(w.digest("release that git says; null where the lock does not say")),
        current=w.maybe(w.digest("release that its files point at")),
        loaded=w.maybe(w.text("release that its serving process says it has in memory")),
        model_sha256=w.maybe(w.text("the model in the memory of that process")),
        accelerator=w.maybe(w.text("what that process runs on, such as `cpu` or `edgetpu`")),
        service=w.text("`running`, `stopped`, `absent` or another word of its service manager"),
        asked=w.maybe(w.text("when it answered, by its own clock")),
        since=w.maybe(w.text("when the serving process loaded what it has, by the board's clock")),
        serving_s=w.maybe(w.number("seconds since then")),
        proved_s=w.maybe(w.number("seconds since the loaded release last passed its proof")),
        p95_ms=w.maybe(w.number("latency in that proof, 95th percentile")),
        temperature_c=w.maybe(w.number("hottest sensor")),
        throttled=w.maybe(w.truth("throttled or under-voltage now")),
        disk_free_bytes=w.maybe(w.whole("where releases are kept")),
        memory_free_bytes=w.maybe(w.whole("that programs could still have")),
        last_outcome=w.maybe(
            w.text("how its last activation ended, and of which release if not the loaded one")
        ),
        commit=w.maybe(w.text("git commit of its last receipt")),
        trusts=w.maybe(
            w.texts("keys whose signature it demands, by fingerprint; null: it takes any release")
        ),
        serial=w.maybe(w.whole("the place in git's history of the last signed release that it confirmed")),
    ),
)
DOCTOR = w.document(
    "fleetctl.doctor/v1",
    "`fleetctl doctor`: one board in detail.",
    board=w.text("name"),
    healthy=w.truth("no check is bad"),
    checks=w.items(
        "in a fixed order",
        w.record(
            check=w.text("what was looked at, such as `power` or `accelerator`"),
            grade=w.word("how it ended, worst first", "bad", "warn", "unknown", "good"),
            seen=w.text("what was seen, in words"),
            advice=w.maybe(w.text("what to do about it")),
            remedies=w.items(
                "rungs of the ladder for a stuck accelerator, in the order in which to try them",
                w.word("a value of `--remedy`", "restart-service", "reset-usb", "reboot"),
            ),
        ),
    ),
)

SMOKE = w.document(
    "fleetctl.smoke/v1",
    "`fleetctl smoke`: the golden questions asked anew, trouble first.",
    boards=w.per_board(
        "each that answered",
        outcome=w.text("`passed`, `failed`, `inconclusive`, or how asking it ended"),
        agreement=w.maybe(w.number("share of golden samples that agree, 0 to 1")),
        p95_ms=w.maybe(w.number("latency, 95th percentile")),
        reasons=w.texts("why it did not pass"),
    ),
)
HISTORY = w.document(
    "fleetctl.history/v1",
    "`fleetctl history`: what boards ran and proved, newest first.",
    receipts=w.items("as the boards keep them, untrusted; see the board protocol", {"type": "object"}),
)
LOGS = w.document(
    "fleetctl.logs/v1",
    "`fleetctl logs`: the last lines of services.",
    boards=w.mapping("name to lines; a board that did not answer is left out", w.texts("oldest first")),
)
EXEC = w.document(
    "fleetctl.exec/v1",
    "`fleetctl exec`: a command on each board.",
    command=w.text("as a shell line"),
    boards=w.per_board(
        "in the order of the manifest",
        exit=w.maybe(w.whole("null where a signal ended it, or the board did not answer")),
        stdout=w.maybe(w.text("what it wrote")),
        stderr=w.maybe(w.text("what it complained about")),
        error=w.text("why the board did not answer, or empty"),
    ),
)
