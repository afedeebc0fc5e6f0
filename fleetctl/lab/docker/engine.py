"""The Docker engine, or one sentence that says why there is none."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetctl.errors import FleetError, ToolchainMissing

_TIMEOUT = 600  # seconds; building an image of an emulated processor takes minutes


@contextmanager
def engine() -> Iterator[Any]:
    """A client of the engine that `DOCKER_HOST` or the usual socket leads to.

    Raises:
        ToolchainMissing: the SDK is not installed, or no engine answers.
        FleetError: the engine refused something.
    """
    try:
        import docker
        from docker.errors import APIError, DockerException
    except ImportError:
        raise ToolchainMissing(
            "the Docker SDK is not installed", hint="install it: `pip install 'fleetctl[lab]'`"
        ) from None
    try:
        _demand_socket(docker.constants.DEFAULT_UNIX_SOCKET)
        client = docker.from_env(timeout=_TIMEOUT)
    except (DockerException, FileNotFoundError) as error:
        raise ToolchainMissing(
            f"no Docker engine answers: {_last_words(error)}",
            hint="start one (`systemctl start docker`), or use `--driver process`, which needs none",
        ) from None
    try:
        yield client
    except APIError as error:
        raise FleetError(f"the Docker engine refused: {error.explanation or error}") from error
    finally:
        client.close()


def _demand_socket(default: str) -> None:
    """Raise `FileNotFoundError` for a socket that is not there: the SDK would leave its own end open."""
    scheme, _, path = (os.environ.get("DOCKER_HOST") or default).partition("://")
    if scheme in ("unix", "http+unix") and not Path(path).exists():
        raise FileNotFoundError(f"there is no {path}")


def _last_words(error: Exception) -> str:
    """The cause at the end of a chain of wrapped errors, which is the one a person can act on."""
    return str(error).rsplit("(", 1)[-1].strip(" )'\"") or str(error)
