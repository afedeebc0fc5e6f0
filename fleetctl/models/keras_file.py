"""Writing a Keras network to disk: whole or not at all, which Keras itself does not promise."""

import tempfile
from pathlib import Path
from typing import Any

from fleetctl.store import atomic_write, naming


def save(network: Any, path: Path) -> None:
    """Write `network` to `path`, a `.keras` file.

    Raises:
        WriteError: it cannot be written; what was there before is still there.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that a disk too full for one is too full for both, and the message is right.
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as aside:
            copy = Path(aside) / path.name
            network.save(copy)
            data = copy.read_bytes()
    atomic_write(path, data)
