"""What each kind of board comes with, before anybody says or reports otherwise."""

from collections.abc import Mapping

from msgspec import Struct

from fleetctl.compatibility.packages import EdgeTpuLibrary, Interpreter, Package, parse_library
from fleetctl.compatibility.versions import Version
from fleetctl.manifest.schema import Attached, BoardKind


class Hardware(Struct, frozen=True):
    """A kind of board and the system it is taken to run; None: the kind does not decide it.

    `fixed` is true where runtime and Python are those of the board's own image, which has no newer.
    """

    name: str
    system: str = ""
    machine: str | None = None
    python: Version | None = None
    interpreter: Interpreter | None = None
    library: EdgeTpuLibrary | None = None
    sockets: frozenset[Attached] = frozenset({Attached.USB})
    fixed: bool = False


# Mendel 5 (Eagle) is Debian 10 with Python 3.7; python3-pycoral 2.0.0 brings tflite-runtime 2.5.0.post1, and
# libedgetpu 16.0 says RuntimeVersion(14): google-coral/edgetpu issues 731 (Dev Board Mini) and 660.
_MENDEL_PYTHON = Version(3, 7)
_MENDEL_RUNTIME = Interpreter(Package.TFLITE_RUNTIME, Version(2, 5))
_MENDEL_LIBRARY = parse_library("16.0")

# Raspberry Pi OS 12 (bookworm), 64 bit, has Python 3.11, the newest that PyPI has a tflite-runtime for.
_PI_SYSTEM = "Raspberry Pi OS 12"
_PI_PYTHON = Version(3, 11)
_PI_RUNTIME = Interpreter(Package.TFLITE_RUNTIME, Version(2, 14))


def _pi(name: str, *sockets: Attached) -> Hardware:
    return Hardware(
        name, _PI_SYSTEM, "aarch64", _PI_PYTHON, _PI_RUNTIME, sockets=frozenset({Attached.USB, *sockets})
    )


def _coral(name: str) -> Hardware:
    return Hardware(name, "Mendel 5", "aarch64", _MENDEL_PYTHON, _MENDEL_RUNTIME, _MENDEL_LIBRARY, fixed=True)


HARDWARE: Mapping[BoardKind, Hardware] = {
    BoardKind.RASPBERRYPI3: _pi("Raspberry Pi 3"),
    BoardKind.RASPBERRYPI4: _pi("Raspberry Pi 4"),
    BoardKind.RASPBERRYPI5: _pi("Raspberry Pi 5", Attached.PCIE),
    BoardKind.RASPBERRYPI_ZERO2: _pi("Raspberry Pi Zero 2"),
    BoardKind.CORAL_DEV_BOARD: _coral("Coral Dev Board"),
    BoardKind.CORAL_DEV_BOARD_MINI: _coral("Coral Dev Board Mini"),
    BoardKind.GENERIC: Hardware("generic board", sockets=frozenset({Attached.USB, Attached.PCIE})),
}
