"""The manifest as people write it: every key with its kind, its meaning and whether it must be there.

This is the one description. The decoder, `inventory/schema.json` and the tables of docs/manifest.md are read
off it; the values it builds are those of `fleetctl.manifest.schema`, except that boards and groups stay plain
dicts of settings until they are merged.
"""

from fleetctl.manifest.compounds import Field, ListOf, MapOf, Named, Record
from fleetctl.manifest.drift_rules import DRIFT
from fleetctl.manifest.iothub_rules import IOTHUB
from fleetctl.manifest.kinds import Anything, Boolean, Choice, Constant, Text
from fleetctl.manifest.model_rules import MODEL
from fleetctl.manifest.numbers import Integer
from fleetctl.manifest.rollout_rules import ROLLOUT
from fleetctl.manifest.schema import (
    API_VERSION,
    Accelerator,
    Attached,
    Board,
    Machine,
    ServiceManager,
    VariantName,
    Via,
)
from fleetctl.manifest.words import BOARD_KIND, GLOB, NAME, VISIBLE

LABEL = Text(
    "label name", r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", "begin with a letter; letters, digits, `_`, `.` and `-`"
)
LABEL_VALUE = Text("label value without commas, at most 256 characters", r"[^,\x00-\x1f\x7f]{0,256}")
CONFIG_KEY = Text(
    "config name", r"[A-Za-z_][A-Za-z0-9_-]{0,62}", "begin with a letter; letters, digits, `_` and `-`"
)
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
HOST = Text(
    "host name or IP address",  # of nothing but numbers, it is an address of four
    rf"{_BYTE}(?:\.{_BYTE}){{3}}|(?![0-9.]+$)[A-Za-z0-9_:][A-Za-z0-9_.:%-]{{0,252}}",
    "such as board-7.local or 192.168.1.7",
)
USER = Text("user name", r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
INTERPRETER = Text(
    "absolute path or command name", rf"/{VISIBLE}{{1,1000}}|[A-Za-z0-9_][A-Za-z0-9_.-]{{0,100}}"
)
BOARD_FOLDER = Text(
    "absolute path below `/`, without `..`",
    rf"(?!.*/\.\.(?:/|$))/(?!/*$){VISIBLE}{{1,1000}}",
)
INCLUDE = Text("relative path or glob", rf"(?!/){VISIBLE}{{1,1000}}")
PYTHON_VERSION = Text('Python version such as `"3.11"`', r"3\.[0-9]{1,2}(?:\.[0-9]{1,2})?")
INTERPRETER_PACKAGE = Text(
    "TFLite runtime such as `tflite-runtime==2.14.0` or `ai-edge-litert==2.3.0`",
    r"(?:tflite-runtime|ai-edge-litert|tensorflow)==[0-9]{1,3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?(?:\.post[0-9]{1,2})?",
    "the package and its version as pip takes them",
)
EDGE_TPU_LIBRARY = Text(
    'Debian version of libedgetpu such as `16.0tf2.17.1-1.bookworm`, or `"16.0"` for Google\'s own',
    r"[0-9]{1,3}\.[0-9]{1,3}(?:[Tt][Ff][0-9]{1,2}\.[0-9]{1,3}(?:\.[0-9]{1,3})?)?(?:[-+~][A-Za-z0-9.+~-]{1,40})?",
    "`dpkg-query -W 'libedgetpu1-*'` on the board says it",
)
PORT = Integer(1, 65535)

RUNTIME = Record(
    "runtime",
    (
        Field("machine", Choice(Machine, "machine"), "what `uname -m` says: `armv7l` for a 32-bit system"),
        Field("python", PYTHON_VERSION, "of the interpreter that `python` names"),
        Field("tflite", INTERPRETER_PACKAGE, "the package with the TFLite interpreter"),
        Field("libedgetpu", EDGE_TPU_LIBRARY, "the Edge TPU's library"),
    ),
)

_SETTINGS = (
    Field("board", BOARD_KIND, "the hardware"),
    Field("model", NAME, "which of `models` it runs"),
    Field(
        "variant",
        Choice(VariantName, "variant"),
        "which file of the model; absent: see [below](#derived-settings)",
        derived=True,
    ),
    Field("via", Choice(Via, "transport"), "how writes reach it: over ssh, or over Azure IoT Hub"),
    Field("host", HOST, "its address; needed for `via: ansible`"),
    Field("port", PORT, "of its ssh server"),
    Field("user", USER, "to log in as"),
    Field("become", Boolean(), "use sudo on the board"),
    Field("python", INTERPRETER, "interpreter with numpy and a TFLite runtime"),
    Field("root", BOARD_FOLDER, "folder that holds everything fleetctl puts on the board"),
    Field(
        "service",
        Choice(ServiceManager, "service manager"),
        "who keeps the model server running; `process` does not start it again when it dies",
    ),
    Field("serve_port", PORT, "of the model server, on the board's loopback"),
    Field(
        "accelerator",
        Choice(Accelerator, "accelerator"),
        "what the model must run on; absent: see [below](#derived-settings)",
        derived=True,
    ),
    Field("attached", Choice(Attached, "accelerator"), "an Edge TPU accelerator that is plugged into it"),
    Field(
        "runtime",
        RUNTIME,
        "versions it has, where they are not what its kind comes with; layers merge: "
        "see [compatibility.md](compatibility.md)",
    ),
    Field("labels", MapOf(LABEL, LABEL_VALUE), "words to select boards by; layers add to each other"),
    Field("config", MapOf(CONFIG_KEY, Anything()), "values for templates; layers merge, key by key"),
)
SETTINGS = Record("board settings", _SETTINGS, defaults=Board)
MATCH_FIELDS = ("board", "model", "via")  # every other key of `match` is a label
GROUP = Record(
    "group",
    (
        Field("boards", ListOf(GLOB, unique=True), "members by name or glob"),
        Field(
            "match",
            MapOf(LABEL, Text("text or glob", rf"{VISIBLE}{{1,256}}")),
            "members by `board`, `model`, `via` or a label: all of them must match",
        ),
        *_SETTINGS,
    ),
    defaults=Board,
)
METADATA = Record("metadata", (Field("name", NAME, "of the fleet", required=True),))

_PARTS = (
    Field(
        "include",
        ListOf(INCLUDE, unique=True),
        "files with more models, groups and boards, read in this order",
    ),
    Field("models", Named(NAME, MODEL, "model"), "recipes by name"),
    Field(
        "groups",
        Named(NAME, GROUP, "group"),
        "boards that share settings; a later group wins over an earlier",
    ),
    Field("boards", Named(NAME, SETTINGS, "board"), "boards by name"),
)
FLEET = Record(
    "fleet",
    (
        Field("apiVersion", Constant(API_VERSION), "version of this format", required=True),
        Field("kind", Constant("Fleet"), "what the file is", required=True),
        Field("metadata", METADATA, "about the fleet", required=True),
        Field("defaults", SETTINGS, "settings of every board, unless a group or the board says otherwise"),
        *_PARTS,
        Field("rollout", ROLLOUT, "how releases go out"),
        Field("drift", DRIFT, "which differences are known and left alone"),
        Field("iothub", IOTHUB, "the [Azure IoT Hub](iothub.md) of boards `via: iothub`"),
    ),
)
PART = Record("included file", _PARTS)
