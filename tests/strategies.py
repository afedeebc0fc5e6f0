"""Whole fleets drawn at random: as plain data the way people write a manifest, and as YAML text.

Everything drawn is valid. Values that must hold together (a model's variants and a board's accelerator, a
group and its members) are drawn together rather than filtered afterwards.
"""

import json
import re
from random import Random
from typing import Any

from hypothesis import strategies as st

BOARD_KINDS = [
    "raspberrypi3",
    "raspberrypi4",
    "raspberrypi5",
    "raspberrypizero2",
    "coral-dev-board",
    "coral-dev-board-mini",
    "generic",
]
VARIANTS = ["float32", "dynamic", "float16", "int8", "int8-qat", "edgetpu"]

_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"
# Words that YAML readers disagree about are drawn on purpose: quoted, all of them are names like any other.
names = st.one_of(
    st.builds(lambda head, tail: head + tail, st.sampled_from(_LOWER), st.text(_LOWER + "-", max_size=12)),
    st.sampled_from(["no", "on", "off", "null", "true", "007", "1e3", "22"]),
)
label_keys = st.sampled_from(["site", "room", "rack.unit", "_owner", "no", "Floor-2"])
label_values = st.text(
    st.characters(
        exclude_categories=["Cs", "Cc"], exclude_characters=",\x7f\x85\u2028\u2029\ufeff\ufffe\uffff"
    ),
    max_size=12,
)
config_keys = st.sampled_from(["threshold", "threads", "mirror", "camera", "off", "x1"])
_texts = st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFD), max_size=12)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _texts,
)
_inner_keys = _texts.filter(lambda text: re.fullmatch(r"[^\x00-\x1f\x7f]+", text) is not None)
json_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_inner_keys, inner, max_size=3)),
    max_leaves=5,
)
configs = st.dictionaries(config_keys, json_values, max_size=3)
labels = st.dictionaries(label_keys, label_values, max_size=3)
fractions = st.one_of(st.sampled_from([0, 1, 0.5]), st.floats(0, 1))
seeds = st.integers(0, 2**32 - 1)
durations = st.one_of(
    st.builds("{}s".format, st.integers(1, 3600)),
    st.builds("{}.5m".format, st.integers(0, 59)),
    st.builds("{} h".format, st.integers(1, 100)),
    st.builds("{}ms".format, st.integers(1, 10**6)),
)
sizes = st.one_of(st.integers(1, 2**30), st.builds("{}KiB".format, st.integers(1, 9999)), st.just("1.5MB"))

_datasets = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("rendered")},
        optional={
            "samples_per_sign": st.integers(2, 1000),
            "signs": st.lists(st.sampled_from(["G17", "D21", "Aa1", "N35A"]), min_size=2, unique=True),
            "seed": seeds,
        },
    ),
    st.fixed_dictionaries(
        {"kind": st.just("folder"), "path": st.sampled_from(["photos", "../a b/photos", "/data/photos"])},
        optional={"evaluation": st.just("kept out"), "seed": seeds},
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("archive"),
            "url": st.just("https://example.org/signs.zip"),
            "sha256": st.text("0123456789abcdef", min_size=64, max_size=64),
        },
        optional={"subfolder": st.sampled_from(["", "a/b"]), "seed": seeds},
    ),
)


# A task goes with its datasets, and a detector with its network.
_readers = st.fixed_dictionaries({"task": st.just("classification"), "dataset": _datasets})
_tasks = st.one_of(
    _readers,
    st.fixed_dictionaries(
        {
            "task": st.just("detection"),
            "dataset": st.fixed_dictionaries(
                {"kind": st.just("walls"), "plates": st.just("plates")},
                optional={"held_out": st.just(["9"]), "seed": seeds},
            ),
            "architecture": st.just({"name": "ssd_mobilenet_v1", "input": [256, 256, 1]}),
        }
    ),
)


# Each goes with any kind of board and with other layers: no 32-bit one, for `via: iothub` takes none.
_runtimes = st.one_of(
    st.just({}),
    st.builds(lambda machine: {"machine": machine}, st.sampled_from(["aarch64", "x86_64"])),
    st.just(
        {
            "python": "3.11",
            "tflite": "tflite-runtime==2.17.1",
            "libedgetpu": "16.0tf2.17.1-1.bookworm",
        }
    ),
)


def _models(variants: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Models that all build `variants`."""
    rest = st.fixed_dictionaries(
        {},
        optional={
            "architecture": st.fixed_dictionaries(
                {}, optional={"alpha": st.sampled_from([0.25, 1, 1.4]), "input": st.just([64, 96, 3])}
            ),
            "training": st.fixed_dictionaries({}, optional={"epochs": st.integers(1, 100), "seed": seeds}),
            "gates": st.fixed_dictionaries({}, optional={"min_accuracy": fractions, "max_size": sizes}),
            "smoke": st.fixed_dictionaries(
                {},
                optional={
                    "samples": st.integers(1, 64),
                    "max_p95_ms": st.dictionaries(
                        st.sampled_from(BOARD_KINDS), st.integers(1, 500), max_size=3
                    ),
                },
            ),
        },
    )
    tasks = _readers if "int8-qat" in variants else _tasks  # which no detector has
    return st.builds(
        lambda more, task, order: {**more, **task, "variants": order}, rest, tasks, st.permutations(variants)
    )


def _settings(models: list[str], accelerators: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Settings that any layer may make."""
    return st.fixed_dictionaries(
        {},
        optional={
            "model": st.sampled_from(models),
            "board": st.sampled_from(BOARD_KINDS),
            "via": st.sampled_from(["ansible", "iothub"]),
            "port": st.integers(1, 65535),
            "user": st.sampled_from(["pi", "mendel", "root"]),
            "become": st.booleans(),
            "python": st.sampled_from(["python3", "/usr/bin/python3"]),
            "root": st.sampled_from(["/opt/fleetctl", "/srv/a b", "/home/pi/.fleet"]),
            "service": st.sampled_from(["systemd", "process"]),
            "serve_port": st.integers(1, 65535),
            "accelerator": st.sampled_from(accelerators),
            "runtime": _runtimes,
            "labels": labels,
            "config": configs,
        },
    )


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid fleet.yaml as plain data, keys in the order they are to be written."""
    has_edge_tpu = draw(st.booleans())
    cpu_variants = draw(st.lists(st.sampled_from(VARIANTS[:-1]), min_size=1, max_size=3, unique=True))
    variants = cpu_variants + ["edgetpu"] * has_edge_tpu
    models = draw(st.dictionaries(names, _models(variants), min_size=1, max_size=2))
    accelerators = ["none", "preferred", *(["required"] * has_edge_tpu)]
    settings = _settings(list(models), accelerators)

    defaults = draw(settings)
    if has_edge_tpu:
        defaults["attached"] = "usb"  # else a board without one may be told to run `edgetpu`
    boards = {}
    for index, name in enumerate(draw(st.lists(names, min_size=1, max_size=6, unique=True))):
        own = {"board": draw(st.sampled_from(BOARD_KINDS)), "model": draw(st.sampled_from(list(models)))}
        boards[name] = {**draw(settings), **own, "host": f"192.0.2.{index}"}
    groups = {
        name: draw(_groups(boards, settings)) for name in draw(st.lists(names, max_size=3, unique=True))
    }

    document: dict[str, Any] = {
        "apiVersion": "fleetctl/v1",
        "kind": "Fleet",
        "metadata": {"name": draw(names)},
    }
    writes_empty_defaults: bool = draw(st.booleans())
    if defaults or writes_empty_defaults:
        document["defaults"] = defaults
    document |= {"models": models, "groups": groups, "boards": boards}
    if draw(st.booleans()):
        document["rollout"] = draw(_rollouts(list(groups)))
    if draw(st.booleans()):
        document["iothub"] = draw(_hubs)
    return document


@st.composite
def _groups(
    draw: st.DrawFn, boards: dict[str, Any], settings: st.SearchStrategy[dict[str, Any]]
) -> dict[str, Any]:
    """A group of boards by name, by what one of them is, or both."""
    group: dict[str, Any] = {}
    by = draw(st.sampled_from(["name", "match", "both"]))
    if by != "match":
        group["boards"] = draw(st.lists(st.sampled_from(list(boards)), min_size=1, unique=True))
    if by != "name":
        # Only the kind: labels hold any text, and a text is not the glob that matches it.
        group["match"] = {"board": draw(st.sampled_from([board["board"] for board in boards.values()]))}
    return group | draw(settings)


_hubs = st.fixed_dictionaries(
    {},
    optional={
        "host": st.sampled_from(["unas.azure-devices.net", "localhost:8443"]),
        "registry": st.sampled_from(
            ["registry.example/team/fleet", "127.0.0.1:5000/fleet", "a.example/b--c__d/e.f"]
        ),
        "base": st.sampled_from(["python:3.11-slim-bookworm", f"a.example/b/c:1@sha256:{'0' * 64}"]),
        "tier": st.sampled_from(["F1", "S1", "S2", "S3"]),
        "units": st.integers(1, 200),
        "layered": st.booleans(),
    },
)


@st.composite
def _rollouts(draw: st.DrawFn, groups: list[str]) -> dict[str, Any]:
    first = draw(st.lists(st.sampled_from(groups), max_size=2, unique=True)) if groups else []
    percents = sorted(draw(st.sets(st.integers(1, 99), max_size=2)))
    waves: list[dict[str, Any]] = [{"group": group} for group in first]
    waves += [{"percent": percent} for percent in [*percents, 100]]
    for wave in waves:
        if draw(st.booleans()):
            wave["soak"] = draw(durations)
    gate = st.fixed_dictionaries(
        {},
        optional={
            "canary_failures": st.integers(0, 5),
            "success": fractions,
            "inconclusive": st.sampled_from(["pause", "fail", "pass"]),
        },
    )
    optional = {
        "gate": gate,
        "revert": st.sampled_from(["failed", "wave", "all"]),
        "confirm_timeout": durations,
        "deadline": durations,
    }
    return {"waves": waves, **draw(st.fixed_dictionaries({}, optional=optional))}


_PLAIN = re.compile(r"[a-z][a-z0-9_-]*\Z")
_NOT_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def to_yaml(document: dict[str, Any], random: Random) -> str:
    """`document` as YAML text in block and flow style, as `random` has it."""
    return "".join(f"{line}\n" for line in _block(document, random))


def _block(value: Any, random: Random, indent: str = "") -> list[str]:
    lines = []
    for key, below in value.items():
        if isinstance(below, dict) and below and random.random() < 0.6:
            lines += [f"{indent}{_scalar(key)}:", *_block(below, random, indent + "  ")]
        elif isinstance(below, list) and below and random.random() < 0.5:
            lines += [f"{indent}{_scalar(key)}:", *(f"{indent}- {_flow(item)}" for item in below)]
        else:
            lines.append(f"{indent}{_scalar(key)}: {_flow(below)}")
        if random.random() < 0.1:
            lines.append(f"{indent}# {key!r}")
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        # The one form of an exponent that YAML 1.1 and 1.2 both read as a number: 1.0e+20.
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return text if not e else f"{mantissa}{'' if '.' in mantissa else '.0'}e{int(exponent):+d}"
    if isinstance(value, str) and _PLAIN.match(value) and value not in _NOT_TEXT:
        return value
    if isinstance(value, str):
        return _quoted(value)
    return json.dumps(value)


def _quoted(text: str) -> str:
    """Double-quoted YAML: JSON, except that characters beyond U+FFFF have one escape and not two."""
    escaped = (
        c if c.isprintable() else f"\\U{ord(c):08X}" for c in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{"".join(escaped)}"'
