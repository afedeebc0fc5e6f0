"""A board as its module's container is: whatever the manifest says of its interpreter and its services."""

from collections.abc import Iterable

from msgspec.structs import replace

from fleetctl.errors import UsageError
from fleetctl.images.module_image import PYTHON, ROOT
from fleetctl.images.wheels import PYTHON as PYTHON_VERSION
from fleetctl.manifest.schema import Accelerator, Board, Fleet, ServiceManager, Via

_TFLITE = "tflite-runtime==2.14.0"


def in_modules(fleet: Fleet) -> Fleet:
    """The fleet, with boards `via: iothub` as their containers are."""
    return replace(fleet, boards={name: in_module(board) for name, board in fleet.boards.items()})


def in_module(board: Board) -> Board:
    """The board itself, unless it is reached over IoT Hub."""
    if board.via is not Via.IOTHUB:
        return board
    version = ".".join(map(str, PYTHON_VERSION))
    return replace(
        board,
        python=PYTHON,
        root=ROOT,
        service=ServiceManager.PROCESS,
        runtime={**board.runtime, "python": version, "tflite": _TFLITE},
    )


def refuse_accelerated(boards: Iterable[Board]) -> None:
    """Raise `UsageError` for boards whose accelerator the image that we make from Debian knows nothing of."""
    over_hub = (board for board in boards if board.via is Via.IOTHUB)
    wanting = [board.name for board in over_hub if board.accelerator is not Accelerator.NONE]
    if wanting:
        raise UsageError(
            f"module images made from Debian have no Edge TPU library, and these boards want one: "
            f"{', '.join(wanting[:5])}",
            hint="write `iothub: {base: ...}` in fleet.yaml: an image with libedgetpu and Python 3.11",
        )
