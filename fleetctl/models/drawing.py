"""How plots are drawn: one look, and the same bytes for the same numbers wherever they are drawn."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fleetctl.errors import ToolchainMissing
from fleetctl.models.build_tools import HOW_TO_INSTALL


@contextmanager
def drawing() -> Iterator[Any]:
    """matplotlib with its own defaults, whatever a user's matplotlibrc says, and no window.

    Raises:
        ToolchainMissing: matplotlib is not installed.
    """
    try:
        import matplotlib
        import matplotlib.backends.backend_agg
        import matplotlib.figure
    except ImportError as error:
        raise ToolchainMissing(
            f"matplotlib is not installed: {error}",
            hint=HOW_TO_INSTALL,
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield matplotlib


def png(figure: Any) -> bytes:
    """A figure as PNG bytes, without the date and the program's name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    stream = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(stream, metadata={"Software": None})
    return stream.getvalue()
