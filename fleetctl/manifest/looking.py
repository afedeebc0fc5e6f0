"""The fleet for verbs that change no board: as it was read before, as long as that holds.

What reads a manifest is not even imported then: with YAML, it is a third of all that such a verb imports.
"""

from pathlib import Path

from msgspec.structs import replace

from fleetctl.manifest import plain_fleet
from fleetctl.manifest.collector import collector_paused
from fleetctl.manifest.remembered import FLEET, recall
from fleetctl.manifest.schema import Fleet


def load_to_look(path: Path) -> Fleet:
    """The same fleet as `loader.load`, read anew only where the manifest changed.

    Raises:
        ManifestError: as `loader.load`.
    """
    with collector_paused():
        if (text := recall(str(path), FLEET)) is not None:
            return replace(plain_fleet.from_text(text), path=path)
    from fleetctl.manifest.loader import load_and_keep

    return load_and_keep(path)
