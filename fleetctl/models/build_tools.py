"""The packages of the extra `build`, which a plain installation of fleetctl lacks."""

import importlib

from fleetctl.errors import ToolchainMissing

# With any later Python the extra brings no TensorFlow, which would be missed again.
HOW_TO_INSTALL = "install the build tools, with Python 3.11: `pip install 'fleetctl[build]'`"


def demand(package: str) -> None:
    """See that a package can be imported.

    Raises:
        ToolchainMissing: it is not installed, or lacks something itself.
    """
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ToolchainMissing(
            f"{package} is not installed: {error}",
            hint=HOW_TO_INSTALL,
        ) from None
