"""The verdict: a rule for each way in which a board fails to load a release, and the fix for each."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.compatibility.offer import Offer, Source
from fleetctl.compatibility.operations import newest_version
from fleetctl.compatibility.packages import WHEELS, Package, Wheels, go_together
from fleetctl.compatibility.requirements import Requirements
from fleetctl.compatibility.versions import Version
from fleetctl.listed import listed
from fleetctl.manifest.schema import Accelerator, Attached

BOARD_PYTHON = Version(3, 7)  # what fleetctl/device is written for
CONVERTER = "TensorFlow 2.15.1"  # what `fleetctl build` converts with

# Custom operations that every interpreter registers itself: BuiltinOpResolver in TensorFlow's
# tensorflow/lite/core/kernels/register.cc.
_BUILT_IN_CUSTOM = {"TFLite_Detection_PostProcess", "NumericVerify", "Mfcc", "AudioSpectrogram"}
_NUMBERED = "UNKNOWN:"  # before the number of an operation that the schema here has no name for
_FLEX = "Flex"  # prefix of operations that only the whole of TensorFlow runs

# What is known to work together on a Raspberry Pi: the pins of frigate's image, July 2026.
_PAIR = "libedgetpu 16.0tf2.17.1 beside tflite-runtime 2.17.1: docs/bootstrap.md says how"


class Rule(StrEnum):
    """What speaks against a release on a board."""

    SOCKET = "socket"
    PYTHON = "python"
    INTERPRETER = "interpreter"
    WHEEL = "wheel"
    TFLITE = "tflite"
    CUSTOM_OPERATION = "custom-operation"
    UNKNOWN_OPERATION = "unknown-operation"
    EDGE_TPU = "edge-tpu"
    NOT_COMPILED = "not-compiled"
    EDGE_TPU_RUNTIME = "edge-tpu-runtime"
    PAIR = "pair"


class Refusal(Struct, frozen=True):
    """Why a board cannot load a release: what that needs, what the board has, and what to do.

    `settings` are the manifest's keys that have to do with it, the likeliest mistake first.
    """

    rule: Rule
    settings: tuple[str, ...]
    needs: str
    has: str
    fix: str

    def __str__(self) -> str:
        return f"needs {self.needs}, has {self.has}"

    @property
    def sentence(self) -> str:
        """The refusal with its fix."""
        return f"{self}; {self.fix}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class _Case(Struct, frozen=True):
    needs: Requirements
    offer: Offer
    accelerator: Accelerator


def judge(needs: Requirements, offer: Offer, accelerator: Accelerator) -> tuple[Refusal, ...]:
    """Everything that speaks against a release with `needs` on a board with `offer`; empty: nothing does."""
    case = _Case(needs, offer, accelerator)
    found = (rule(case) for rule in _RULES)
    return tuple(refusal for refusal in found if refusal)


def _socket(case: _Case) -> Refusal | None:
    offer = case.offer
    plugged = offer.attached is not Attached.NONE and offer.attached not in offer.hardware.sockets
    if not plugged or offer.edge_tpu.source is Source.BOARD:
        return None
    return Refusal(
        Rule.SOCKET,
        ("attached",),
        "a PCIe slot for its accelerator",
        f"none: a {offer.hardware.name} has USB only",
        "use a USB accelerator and say `attached: usb`",
    )


def _python(case: _Case) -> Refusal | None:
    offer = case.offer
    if not offer.has_python:
        return Refusal(
            Rule.INTERPRETER,
            ("python",),
            f"a Python with numpy and TFLite at {offer.python_path}",
            "nothing there",
            f"run `fleetctl bootstrap`, or make a venv there with `numpy<2` and {_installable(case)}",
        )
    if offer.python is None or offer.python.value >= BOARD_PYTHON:
        return None
    fix = "flash Mendel 5 (Eagle)" if offer.hardware.fixed else "install a newer one and name it in `python`"
    return Refusal(
        Rule.PYTHON,
        ("runtime.python",),
        f"Python {BOARD_PYTHON} or newer for what fleetctl puts on it",
        f"Python {offer.python.value}",
        fix,
    )


def _interpreter(case: _Case) -> Refusal | None:
    offer = case.offer
    if offer.has_interpreter or not offer.has_python:
        return None
    return Refusal(
        Rule.INTERPRETER,
        ("python",),
        "a TFLite runtime",
        f"none in {offer.python_path}",
        f"run `fleetctl bootstrap`, or install {_installable(case)} there",
    )


def _wheel(case: _Case) -> Refusal | None:
    """A runtime that is said or assumed to be there, but that nobody publishes for such a board."""
    offer = case.offer
    if offer.interpreter is None or offer.interpreter.source is Source.BOARD:
        return None  # a board that says it has one has one
    if _python(case):
        return None  # which has to be mended first
    interpreter = offer.interpreter.value
    published = [wheels for wheels in WHEELS if wheels.holds(interpreter)]
    if not published or any(_fits(wheels, offer) for wheels in published):
        return None
    machine = offer.machine.value if offer.machine else None
    fits_machine = any(wheels.fits(machine, None) for wheels in published)
    has = f"Python {offer.python.value}" if fits_machine and offer.python else f"{machine}"
    return Refusal(
        Rule.WHEEL,
        ("runtime",),
        f"a wheel of {interpreter}",
        f"{has}, which it is not published for",
        _other_interpreter(case),
    )


def _tflite(case: _Case) -> Refusal | None:
    if case.offer.interpreter is None or not case.offer.has_interpreter:
        return None
    interpreter = case.offer.interpreter.value
    lacking = case.needs.newer_than(interpreter.tflite)
    if not lacking:
        return None
    return Refusal(
        Rule.TFLITE,
        ("runtime.tflite",),
        f"TFLite {case.needs.tflite} for {_named(case.needs.decisive)}",
        f"{interpreter.tflite} ({interpreter}{_of_system(case.offer)})",
        " or ".join([*_newer(case), _converted(lacking, interpreter.tflite)]),
    )


def _custom_operation(case: _Case) -> Refusal | None:
    package = case.offer.interpreter.value.package if case.offer.interpreter else None
    missing = [name for name in case.needs.custom if name not in _BUILT_IN_CUSTOM]
    if package is Package.TENSORFLOW:
        missing = [name for name in missing if not name.startswith(_FLEX)]
    if not missing:
        return None
    flex = all(name.startswith(_FLEX) for name in missing)
    return Refusal(
        Rule.CUSTOM_OPERATION,
        ("variant",),
        f"the custom operation {', '.join(missing)}",
        "an interpreter without it",
        "convert with TFLITE_BUILTINS only, without SELECT_TF_OPS"
        if flex
        else "leave it out of the model and do its work in numpy, outside the network",
    )


def _unknown_operation(case: _Case) -> Refusal | None:
    unknown = case.needs.unknown
    if not unknown:
        return None
    verb = "is" if len(unknown) == 1 else "are"
    return Refusal(
        Rule.UNKNOWN_OPERATION,
        ("variant",),
        f"{_named(unknown)}, which {verb} in no TFLite that fleetctl knows",
        "a runtime that may not have it",
        f"convert with {CONVERTER}, as `fleetctl build` does",
    )


def _edge_tpu(case: _Case) -> Refusal | None:
    offer = case.offer
    wants = case.needs.edgetpu is not None or case.accelerator is Accelerator.REQUIRED
    if not wants or offer.edge_tpu.value:
        return None
    if offer.edge_tpu.source is Source.BOARD:
        has = "none that the board can see on USB or PCIe"
        look = "look for it in `dmesg` and start the board again" if offer.hardware.fixed else "plug it in"
        fix = f"{look}, or use `variant: int8` with `accelerator: none`"
    else:
        has = "none, soldered on or attached"
        fix = "attach one and say `attached: usb`, or use `variant: int8` with `accelerator: none`"
    return Refusal(Rule.EDGE_TPU, ("variant", "accelerator", "attached"), "an Edge TPU", has, fix)


def _not_compiled(case: _Case) -> Refusal | None:
    if case.accelerator is not Accelerator.REQUIRED or case.needs.edgetpu is not None:
        return None
    return Refusal(
        Rule.NOT_COMPILED,
        ("variant",),
        "a model compiled for the Edge TPU (`accelerator: required`)",
        "one that runs on the CPU only",
        "use `variant: edgetpu`, or say `accelerator: preferred`",
    )


def _edge_tpu_runtime(case: _Case) -> Refusal | None:
    needed, has = case.needs.edgetpu, case.offer.edge_tpu_runtime
    if not needed or has is None or has.value >= needed:
        return None
    return Refusal(
        Rule.EDGE_TPU_RUNTIME,
        ("runtime.libedgetpu",),
        f"Edge TPU runtime {needed}",
        f"{has.value}{_of_library(case.offer)}",
        "install libedgetpu 16.0 (runtime 14)"
        + (f", or compile with `--min_runtime_version {has.value}`" if has.value >= 13 else ""),
    )


def _pair(case: _Case) -> Refusal | None:
    offer = case.offer
    if case.needs.edgetpu is None or offer.proved_tpu or offer.library is None or offer.interpreter is None:
        return None
    built_for, interpreter = offer.library.value.tensorflow, offer.interpreter.value
    if built_for is None or go_together(built_for, interpreter):
        return None
    own = f"go back to the {offer.hardware.system} packages" if offer.hardware.fixed else f"install {_PAIR}"
    return Refusal(
        Rule.PAIR,
        ("runtime.libedgetpu",),
        f"a libedgetpu built for the TFLite beside it ({interpreter})",
        f"{offer.library.value}, built for TensorFlow {built_for}: together they crash",
        own,
    )


_RULES: tuple[Callable[[_Case], Refusal | None], ...] = (
    _socket,
    _python,
    _interpreter,
    _wheel,
    _tflite,
    _custom_operation,
    _unknown_operation,
    _edge_tpu,
    _not_compiled,
    _edge_tpu_runtime,
    _pair,
)


def _fits(wheels: Wheels, offer: Offer) -> bool:
    machine = offer.machine.value if offer.machine else None
    return wheels.fits(machine, offer.python.value if offer.python else None)


def _candidates(case: _Case) -> list[Wheels]:
    """Published runtimes that such a board can install and that have what the model needs, oldest first."""
    compiled = case.needs.edgetpu is not None
    return [
        wheels
        for wheels in WHEELS
        if _fits(wheels, case.offer)
        and wheels.newest.tflite >= case.needs.tflite
        and not (compiled and wheels.package is Package.LITERT)
    ]


def _installable(case: _Case) -> str:
    """What to give pip for such a board."""
    on_pypi = [wheels.newest for wheels in _candidates(case) if wheels.on_pypi]
    return on_pypi[0].requirement if on_pypi else Package.TFLITE_RUNTIME


def _newer(case: _Case) -> list[str]:
    return [f"install {wheels.newest}" for wheels in _candidates(case)[:1]]


def _other_interpreter(case: _Case) -> str:
    """A runtime that is published for such a board, and the Python that most are published for."""
    if case.offer.hardware.fixed:
        system, python = case.offer.hardware.system, case.offer.hardware.python
        return f"leave `runtime` out: {system} comes with Python {python} and its own runtime"
    candidates = _candidates(case)
    options = [f"say `runtime: {{tflite: {candidates[0].newest.requirement}}}`"] if candidates else []
    if not any(wheels.package is Package.TFLITE_RUNTIME for wheels in candidates):
        options.append("make a venv with Python 3.11 for tflite-runtime and name it in `python`")
    return ", or ".join(options)


def _converted(lacking: tuple[tuple[str, int], ...], tflite: Version) -> str:
    name, _ = lacking[0]
    newest = newest_version(name, tflite)
    if newest is None:
        return f"build the model without {name}"
    return f"convert with {CONVERTER}, so that {name} stays at version {newest} or lower"


def _named(operations: tuple[tuple[str, int], ...]) -> str:
    return listed(
        [f"{name.replace(_NUMBERED, 'operation number ')} version {version}" for name, version in operations],
        2,
    )


def _of_system(offer: Offer) -> str:
    return f" of {offer.hardware.system}" if offer.hardware.fixed and _is_kinds(offer) else ""


def _is_kinds(offer: Offer) -> bool:
    return offer.interpreter is not None and offer.interpreter.source is Source.KIND


def _of_library(offer: Offer) -> str:
    return f" ({offer.library.value})" if offer.library else ""
