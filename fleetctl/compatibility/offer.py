"""What a board offers a model: as its kind comes, refined by the manifest, refined by its own report."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from fleetctl.compatibility.hardware import HARDWARE, Hardware
from fleetctl.compatibility.packages import EdgeTpuLibrary, Interpreter, parse_interpreter, parse_library
from fleetctl.compatibility.versions import Version, parse_version
from fleetctl.manifest.schema import Attached, Board, BoardKind

T = TypeVar("T")


class Source(StrEnum):
    """Who says so; a later one wins."""

    KIND = "kind"
    MANIFEST = "manifest"
    BOARD = "board"


class Known(Struct, Generic[T], frozen=True):
    """A fact, and who says so."""

    value: T
    source: Source


class Reported(Struct, frozen=True):
    """What a board said of itself; None where it said nothing.

    What it says of a Python holds for the one at `python_path`: `has_python` is false where there is none,
    `has_interpreter` where it surely has no TFLite. `proved_tpu` is true where the last proof ran on the
    Edge TPU with that interpreter: whatever tables say, its libraries go together.
    """

    system: str | None = None
    machine: str | None = None
    python_path: str = ""
    has_python: bool | None = None
    python: Version | None = None
    has_interpreter: bool | None = None
    interpreter: Interpreter | None = None
    library: EdgeTpuLibrary | None = None
    edge_tpu_runtime: int | None = None
    edge_tpu: bool | None = None
    proved_tpu: bool = False


class Offer(Struct, frozen=True):
    """What is known of a board; None where nobody knows. Hashable, so that verdicts can be kept."""

    hardware: Hardware
    attached: Attached
    edge_tpu: Known[bool]
    system: Known[str] | None = None
    machine: Known[str] | None = None
    python: Known[Version] | None = None
    interpreter: Known[Interpreter] | None = None
    library: Known[EdgeTpuLibrary] | None = None
    edge_tpu_runtime: Known[int] | None = None
    python_path: str = ""  # of the interpreter the manifest names
    has_python: bool = True
    has_interpreter: bool = True
    proved_tpu: bool = False


def offer_of(board: Board, reported: Reported | None = None) -> Offer:
    """What `board` offers by its kind and its manifest, and by what it reported."""
    told = _as_told(_of_kind(board.board, board.attached, board.python), board.runtime)
    return _as_reported(told, reported) if reported else told


def _of_kind(kind: BoardKind, attached: Attached, python: str) -> Offer:
    hardware = HARDWARE[kind]
    plugged = attached is not Attached.NONE
    library = hardware.library
    return Offer(
        hardware,
        attached,
        Known(plugged or kind.has_edge_tpu, Source.MANIFEST if plugged else Source.KIND),
        system=_known(hardware.system or None, Source.KIND),
        machine=_known(hardware.machine, Source.KIND),
        python=_known(hardware.python, Source.KIND),
        interpreter=_known(hardware.interpreter, Source.KIND),
        library=_known(library, Source.KIND),
        edge_tpu_runtime=_known(library.runtime if library else None, Source.KIND),
        python_path=python,
    )


def _as_told(offer: Offer, runtime: Mapping[str, str]) -> Offer:
    """`offer` with the manifest's `runtime`, whose texts the loader has checked."""
    library = parse_library(runtime.get("libedgetpu", ""))
    told = Reported(
        machine=runtime.get("machine"),
        python=parse_version(runtime.get("python", "")),
        interpreter=parse_interpreter(runtime.get("tflite", "")),
        library=library,
        edge_tpu_runtime=library.runtime if library else None,
    )
    return _refined(offer, told, Source.MANIFEST)


def _as_reported(offer: Offer, reported: Reported) -> Offer:
    if reported.python_path and reported.python_path != offer.python_path:
        reported = replace(
            reported,
            has_python=None,
            python=None,
            has_interpreter=None,
            interpreter=None,
            proved_tpu=False,
        )
    library = reported.library
    runtime = reported.edge_tpu_runtime or (library.runtime if library else None)
    said = _refined(offer, replace(reported, edge_tpu_runtime=runtime), Source.BOARD)
    edge_tpu = _known(reported.edge_tpu, Source.BOARD)
    return replace(
        said,
        edge_tpu=edge_tpu or said.edge_tpu,
        has_python=reported.has_python is not False,
        has_interpreter=reported.has_interpreter is not False,
        proved_tpu=reported.proved_tpu,
    )


def _refined(offer: Offer, said: Reported, source: Source) -> Offer:
    """`offer` with every fact replaced that `said` has."""
    return replace(
        offer,
        system=_known(said.system, source) or offer.system,
        machine=_known(said.machine, source) or offer.machine,
        python=_known(said.python, source) or offer.python,
        interpreter=_known(said.interpreter, source) or offer.interpreter,
        library=_known(said.library, source) or offer.library,
        edge_tpu_runtime=_known(said.edge_tpu_runtime, source) or offer.edge_tpu_runtime,
    )


def _known(value: T | None, source: Source) -> Known[T] | None:
    return None if value is None else Known(value, source)
