"""The public keys that boards are to trust: a PEM each in `inventory/trust/`, reviewed as git is."""

import re
from pathlib import Path

from fleetctl.errors import SigningError, UsageError
from fleetctl.folders import files_in
from fleetctl.signing.keys import PublicKey, parse_public
from fleetctl.store import atomic_write

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def trusted_keys(folder: Path) -> dict[str, PublicKey]:
    """Keys by name, which is the file's without `.pem`.

    Raises:
        SigningError: a file is no public key on P-256, or cannot be read; names it.
    """
    try:
        files = files_in(folder, ".pem")
    except OSError as error:
        raise SigningError(f"inventory/trust cannot be read: {error.strerror}") from None
    return {file.stem: parse_public(_text(file), f"inventory/trust/{file.name}") for file in files}


def add_trusted_key(folder: Path, name: str, key: PublicKey) -> Path:
    """Write a key where `trusted_keys` finds it; never over another."""
    path = key_path(folder, name)
    atomic_write(path, key.pem)
    return path


def key_path(folder: Path, name: str) -> Path:
    """Where the key of that name lies.

    Raises:
        UsageError: it is no name for a key, or one that is taken.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a key", hint="use lower-case letters, digits and hyphens")
    path = folder / f"{name}.pem"
    if path.exists():
        raise UsageError(f"there is a key named {name!r} already", hint="give the new one another name")
    return path


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise SigningError(f"inventory/trust/{file.name} cannot be read: {reason}") from None
