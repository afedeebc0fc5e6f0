"""From an address to the remote that it names, with the credentials that the environment has for it."""

from collections.abc import Mapping
from pathlib import Path

from fleetctl.errors import UsageError
from fleetctl.remotes.base import Remote, RemoteRefused
from fleetctl.remotes.folder import FolderRemote
from fleetctl.remotes.oci import OciRemote

USER, PASSWORD = "FLEETCTL_REGISTRY_USER", "FLEETCTL_REGISTRY_PASSWORD"
READ_ONLY = "FLEETCTL_ARTIFACTS_READ_ONLY"


def open_remote(address: str, environment: Mapping[str, str]) -> Remote:
    """`oci://host/repository`, or a folder.

    Raises:
        UsageError: there is no address, or it is neither.
    """
    if not address:
        raise UsageError(
            "nobody said where artifacts are kept",
            hint="name a folder or oci://HOST/REPOSITORY, here or in FLEETCTL_ARTIFACTS",
        )
    if address.startswith("oci://"):
        return OciRemote(address, credentials(environment))
    if "://" in address or _is_file(Path(address)):
        raise UsageError(f"{address!r} is neither a folder nor oci://HOST/REPOSITORY")
    return FolderRemote(Path(address))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # nobody may look, or a name too long: whoever reads or writes there says so
        return False


def credentials(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password for a registry, if the environment has them."""
    user, password = environment.get(USER), environment.get(PASSWORD)
    if bool(user) != bool(password):
        raise UsageError(f"{USER} and {PASSWORD} go together", hint="set both, or none")
    return (user, password) if user and password else None


def demand_writable(remote: Remote, environment: Mapping[str, str]) -> None:
    """Raise where this machine was told only to read: the build of a pull request, say."""
    if environment.get(READ_ONLY, "") not in ("", "0"):
        raise RemoteRefused(
            f"{remote.name} is only read from here", hint=f"{READ_ONLY} is set: unset it to push"
        )
