"""The unit that a board's releases will bring, before there is any release."""

from fleetctl.artifact import Artifact
from fleetctl.manifest.schema import Board, Fleet, ServiceManager
from fleetctl.render.renderer import UNIT, Renderer


def unit_of(renderer: Renderer, fleet: Fleet, board: Board) -> str:
    """Empty for a board whose service is a plain process. No model has to be built for it.

    Raises:
        ManifestError: the template fails.
    """
    if board.service is not ServiceManager.SYSTEMD:
        return ""
    nothing_built = Artifact(board.model, board.variant.value, {})
    return renderer.render(board, nothing_built, fleet.models[board.model].smoke)[UNIT].decode()
