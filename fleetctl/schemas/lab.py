"""What verbs of the lab print."""

from fleetctl.schemas import words as w

STATUS = w.partly(
    w.document(
        "fleetctl.lab-status/v1",
        "`fleetctl lab status`: the virtual boards.",
        up=w.truth("they are there"),
        driver=w.word("what plays them; absent where they are not there", "process", "docker"),
        pid=w.maybe(w.whole("of the process that plays them")),
        boards=w.mapping(
            "by name",
            w.record(
                host=w.text("address"),
                port=w.whole("of ssh"),
                user=w.text("to log in as"),
                root=w.text("what `root` is on a real board"),
                python=w.text("that runs its board runtime"),
                serve_port=w.whole("on which its service answers"),
                online=w.truth("it has power"),
                error=w.text("why it is off though it should not be, or empty"),
                become=w.truth("root is had by sudo"),
                service=w.text("which service manager"),
                architecture=w.text("as Debian names it; empty: this machine's"),
                account=w.text("whose home its image has, or empty"),
                ssh=w.text("the command that logs in"),
            ),
        ),
        edge_boards=w.mapping(
            "of the emulated hub, by name; absent where there are none", w.truth("has power")
        ),
    ),
    *("driver", "pid", "edge_boards"),
)
IOTHUB = w.partly(
    w.document(
        "fleetctl.lab-iothub/v1",
        "`fleetctl lab iothub status`: the emulated hub; without one, `up` alone.",
        up=w.truth("it listens"),
        pid=w.whole("of its process"),
        host=w.text("of its service side, with its port"),
        address=w.text("it listens on"),
        mqtt_port=w.whole("of its device side"),
        tier=w.text("whose limits it keeps"),
        units=w.whole("of that tier"),
        files=w.mapping("what clients need, by name", w.text("path")),
        faults=w.mapping("how many calls to come are hit, by fault", w.number("calls; of `slow`, seconds")),
    ),
    *("pid", "host", "address", "mqtt_port", "tier", "units", "files", "faults"),
) | {"additionalProperties": {"description": "what it counted", "type": ["integer", "number", "object"]}}
CERTIFICATE = w.document(
    "fleetctl.lab-iothub-certificate/v1",
    "`fleetctl lab iothub certificate`: with which a device signs in.",
    device=w.text("name"),
    certificate=w.text("path"),
    key=w.text("path of the private key"),
    thumbprint=w.text("sha256 of the certificate, as hubs write it"),
)
