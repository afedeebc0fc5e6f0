"""What lies in a folder that decides about releases."""

from pathlib import Path


def files_in(folder: Path, suffix: str) -> list[Path]:
    """What has a name with that ending, in order; nothing where there is no such folder.

    `Path.glob` takes a folder that may not be listed for an empty one: templates would be those that fleetctl
    brings along, and nobody would be trusted.

    Raises:
        OSError: it cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))
    except FileNotFoundError:
        return []
