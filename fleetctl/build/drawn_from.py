"""`fonts.json`: the font files that the signs of a build were drawn from, in the folder of its recipe.

A recipe only names fonts. What was drawn from other files of these names is not taken up again.
"""

import contextlib
import shutil
from pathlib import Path

from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.schema import Dataset
from fleetctl.models import fonts
from fleetctl.models.dataset_digest import fonts_of
from fleetctl.store import atomic_write, canonical_json

_FILE = "fonts.json"


def note(workdir: Path, dataset: Dataset) -> None:
    """Note which files they are here; nothing where nothing is drawn.

    Raises:
        ToolchainMissing: a font is not installed.
        WriteError: it cannot be noted.
    """
    if named := fonts_of(dataset):
        atomic_write(workdir / _FILE, canonical_json(fonts.versions(named)))


def forget_others(workdir: Path, dataset: Dataset) -> None:
    """Empty the folder where they were other files; where there are none here, nothing can be drawn anew."""
    with contextlib.suppress(ToolchainMissing, FileNotFoundError):
        if (workdir / _FILE).read_bytes() != canonical_json(fonts.versions(fonts_of(dataset))):
            shutil.rmtree(workdir, ignore_errors=True)
