"""What verbs print that ask boards."""

from fleetctl.schemas.words import (
    digest,
    document,
    items,
    maybe,
    number,
    record,
    text,
    texts,
    truth,
    whole,
    word,
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
        ),
    ),
)
