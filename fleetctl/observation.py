"""What a board said about itself, read with suspicion: every field is checked, nothing is taken on trust."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from fleetctl.compatibility.offer import Reported
from fleetctl.compatibility.packages import parse_interpreter, parse_library, parse_machine
from fleetctl.compatibility.versions import parse_version
from fleetctl.device.trust import is_serial
from fleetctl.signing.signing import BoardTrust
from fleetctl.untrusted import mapping, number, text, truth, whole

_ALTERED = 1000  # files that a board says were altered; more are not listened to
_BLOBS = 100  # large ones that a board says it has; more are not listened to
_KEYS = 100  # that a board may trust; what it says beyond is not listened to
_RUNTIME_VERSION = re.compile(r"RuntimeVersion\(([0-9]{1,4})\)")  # what libedgetpu says of itself


class Reach(StrEnum):
    """Whether a board could be asked."""

    REACHED = "reached"
    OFFLINE = "offline"  # no answer: deferred, neither a failure nor a success
    REFUSED = "refused"  # host key or permission: a person must act
    FAILED = "failed"  # answered, but not usefully


class Loaded(Struct, frozen=True):
    """What the serving process has in memory, by its own account."""

    release: str = ""
    model_sha256: str = ""
    accelerator: str = ""
    since: str = ""


class Health(Struct, frozen=True):
    """The board's vital signs; None where it has no such sensor. Celsius, bytes, seconds."""

    temperature_c: float | None = None
    throttled: bool | None = None
    disk_free_bytes: int | None = None
    memory_free_bytes: int | None = None
    uptime_s: float | None = None
    load1: float | None = None


class Alteration(Struct, frozen=True):
    """A file that is not as a release says: when it was written, who owns it, and what it is now."""

    since: str = ""
    by: str = ""
    sha256: str | None = None  # of what lies there now; None where nothing does


class Observed(Struct, frozen=True):
    """One board as it is: what it links to, what it has loaded, and what it last proved."""

    board: str
    reach: Reach = Reach.REACHED
    error: str = ""
    hint: str = ""
    current: str | None = None
    good: str | None = None
    pending: str | None = None
    repaired: bool = False  # its files or its interpreter are others than those it was started with
    foreign: bool = False
    files: Mapping[str, str] = field(default_factory=dict)  # path in the release -> sha256
    spare: tuple[str, ...] = ()  # digests of large blobs that lie there besides, as it says
    begun: Mapping[str, int] | None = None  # bytes by digest of what came before a line broke
    modules: str | None = None  # digest of the runtime whose modules it keeps, ready to run
    altered: Mapping[str, Alteration] = field(default_factory=dict)  # by path in the release
    units: Mapping[str, Alteration] = field(default_factory=dict)  # by path on the board
    config: Mapping[str, Any] = field(default_factory=dict)
    service: str = "absent"
    loaded: Loaded | None = None
    receipt: Mapping[str, Any] = field(default_factory=dict)
    health: Health = field(default_factory=Health)
    platform: Reported = field(default_factory=Reported)
    trust: BoardTrust | None = None  # None: it takes any release, signed or not
    time: str = ""  # by the board's own clock, which its receipts are dated by too

    @property
    def adopted(self) -> bool:
        """True once the board has run a release of ours."""
        return self.current is not None

    @classmethod
    def parse(cls, board: str, data: Mapping[str, Any]) -> "Observed":
        """Read the reply of the board verb `observe`; what has the wrong type counts as not said."""
        service = mapping(data.get("service"))
        return cls(
            board=board,
            current=_digest(data.get("current")),
            good=_digest(data.get("good")),
            pending=_digest(mapping(data.get("pending")).get("release")),
            repaired=data.get("repaired") is True,
            foreign=data.get("foreign") is True,
            files=_file_digests(data.get("files")),
            spare=_digests(data.get("spare")),
            begun=_sizes(data.get("begun")),
            modules=_digest(data.get("modules")),
            altered=_alterations(data.get("altered")),
            units=_alterations(data.get("units")),
            config=mapping(data.get("config")),
            service=text(service.get("state")) or "absent",
            loaded=_loaded(service.get("loaded")),
            receipt=mapping(data.get("receipt")),
            platform=_platform(mapping(data.get("platform")), mapping(data.get("receipt"))),
            health=_health(mapping(data.get("health"))),
            trust=_trust(data.get("trust")),
            time=text(data.get("time")),
        )

    def age(self, then: object) -> float | None:
        """Seconds since the board wrote the time `then`; right even where its clock is wrong."""
        now, past = seconds_of(self.time), seconds_of(then)
        return None if now is None or past is None else max(0.0, now - past)


def is_drop_in(path: str) -> bool:
    """Whether a path of `Observed.units` is a drop-in: no release brings one, no rollout takes one away."""
    return path.endswith(".conf")


def latency_p95_ms(receipt: Mapping[str, Any]) -> float | None:
    """The 95th percentile latency that a receipt states, in milliseconds."""
    return number(mapping(receipt.get("latency_ms")).get("p95"))


def seconds_of(value: object) -> float | None:
    """Seconds since 1970 of a time as boards write it, `2026-01-01T00:00:00Z`; None for anything else."""
    if not isinstance(value, str) or not value.endswith("Z"):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _digest(value: object) -> str | None:
    # A board names a hundred of them, so the letters are looked at in C.
    is_digest = isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")
    return str(value) if is_digest else None


def _file_digests(value: object) -> dict[str, str]:
    found = ((path, _digest(mapping(ref).get("sha256"))) for path, ref in mapping(value).items())
    return {path: digest for path, digest in found if digest}


def _digests(value: object) -> tuple[str, ...]:
    said = value[:_BLOBS] if isinstance(value, list) else []
    return tuple(filter(None, map(_digest, said)))


def _sizes(value: object) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None  # a release of another version may not say
    said = list(value.items())[:_BLOBS]
    return {name: size for name, size in said if _digest(name) and type(size) is int and size > 0}


def _alterations(value: object) -> dict[str, Alteration]:
    found = list(mapping(value).items())[:_ALTERED]
    return {path[:200]: _alteration(mapping(said)) for path, said in found}


def _alteration(said: Mapping[str, Any]) -> Alteration:
    return Alteration(text(said.get("since")), text(said.get("by")), _digest(said.get("sha256")))


def _loaded(value: object) -> Loaded | None:
    if not isinstance(value, dict):
        return None
    return Loaded(
        release=_digest(value.get("release")) or "",
        model_sha256=_digest(value.get("model_sha256")) or "",
        accelerator=text(value.get("accelerator")),
        since=text(value.get("started")),
    )


def _health(data: Mapping[str, Any]) -> Health:
    return Health(
        temperature_c=number(data.get("temperature_c")),
        throttled=truth(data.get("throttled")),
        disk_free_bytes=whole(data.get("disk_free_bytes")),
        memory_free_bytes=whole(data.get("memory_free_bytes")),
        uptime_s=number(data.get("uptime_s")),
        load1=number(data.get("load1")),
    )


def _trust(value: object) -> BoardTrust | None:
    if not isinstance(value, dict):
        return None
    keys, serial = value.get("keys"), value.get("serial")
    known = [_digest(key) for key in keys[:_KEYS]] if isinstance(keys, list) else []
    return BoardTrust(
        text(value.get("fleet")),
        text(value.get("board")),
        tuple(key for key in known if key),
        serial if is_serial(serial) else None,
    )


def _platform(survey: Mapping[str, Any], receipt: Mapping[str, Any]) -> Reported:
    """What a board can load models with: what it sees now, else what its last proof ran with."""
    python, ran = mapping(survey.get("python")), mapping(receipt.get("runtime"))
    accelerator = mapping(receipt.get("accelerator"))
    sees = survey.get("tflite")
    proved_with = parse_interpreter(text(ran.get("tflite")))
    interpreter = parse_interpreter(text(sees)) or proved_with
    proved = receipt.get("outcome") == "passed" and accelerator.get("used") == "edgetpu"
    said = _RUNTIME_VERSION.search(text(ran.get("edgetpu")))
    return Reported(
        system=text(survey.get("system")) or None,
        machine=parse_machine(text(survey.get("machine")) or text(ran.get("machine"))),
        python_path=text(python.get("path")),
        has_python=truth(python.get("exists")),
        python=parse_version(text(python.get("version"))) or parse_version(text(ran.get("python"))),
        has_interpreter=False if sees == "" else None,
        interpreter=None if sees == "" else interpreter,
        library=parse_library(text(survey.get("libedgetpu"))),
        edge_tpu_runtime=int(said.group(1)) if said else None,
        edge_tpu=truth(survey.get("edge_tpu")),
        proved_tpu=proved and interpreter == proved_with,
    )
