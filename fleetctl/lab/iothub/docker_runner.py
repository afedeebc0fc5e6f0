"""Runs modules on virtual boards as containers: pulled by digest, made by `createOptions`, ended by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetctl.lab.iothub.agent import ImageMissing

LABEL = "fleetctl.lab.module"
_CERTIFICATE = "/run/hub-ca.pem"
_STOP_PATIENCE = 5  # seconds


class DockerRunner:
    """One board's modules on an engine that plays many boards.

    Containers share the machine's network, where the hub is; each board has its own volume.
    """

    def __init__(self, client: Any, board: str) -> None:
        self._client = client
        self._board = board
        self._container: Any = None

    @property
    def volume(self) -> str:
        return f"fleetctl-lab-{self._board}"

    def fetch(self, image: str) -> None:
        from docker.errors import APIError

        try:
            self._client.images.pull(image)
        except APIError as error:
            raise ImageMissing(f"{image}: {error.explanation or error}") from error

    def start(self, image: str, options: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.stop()
        config = self._config(image, options, environment)
        made = self._client.api.create_container_from_config(config, f"{self.volume}-module")
        self._container = self._client.containers.get(made["Id"])
        self._container.start()

    def exit_code(self) -> int | None:
        if self._container is None:
            return None
        self._container.reload()
        state = self._container.attrs["State"]
        return None if state["Running"] or state["Status"] == "created" else int(state["ExitCode"])

    def stop(self) -> None:
        from docker.errors import NotFound

        try:
            container = self._client.containers.get(f"{self.volume}-module")
            container.stop(timeout=_STOP_PATIENCE)
            container.remove(force=True)
        except NotFound:
            pass
        self._container = None

    def logs(self) -> str:
        """What the module said so far."""
        return "" if self._container is None else self._container.logs().decode(errors="replace")

    def remove(self) -> None:
        """End the module and forget the board: its volume goes."""
        from docker.errors import NotFound

        self.stop()
        try:
            self._client.volumes.get(self.volume).remove(force=True)
        except NotFound:
            return

    def _config(
        self, image: str, options: Mapping[str, Any], environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """`createOptions`, with what this engine needs in order to play many boards."""
        config: dict[str, Any] = json.loads(json.dumps(options))
        host = config.setdefault("HostConfig", {})
        certificate = Path(environment["EdgeModuleCACertificateFile"])
        host["Binds"] = [self._own(each) for each in host.get("Binds", [])] + [
            f"{certificate}:{_CERTIFICATE}:ro"
        ]
        host["NetworkMode"] = "host"
        given = {**environment, "EdgeModuleCACertificateFile": _CERTIFICATE}
        config["Env"] = [*config.get("Env", []), *(f"{name}={value}" for name, value in given.items())]
        return {**config, "Image": image, "Labels": {LABEL: self._board}}

    def _own(self, bind: str) -> str:
        """A named volume, made this board's."""
        source, _, target = bind.partition(":")
        return bind if source.startswith("/") else f"{self.volume}:{target}"
