"""The hub as an IoT Edge module sees it: the one place that knows Microsoft's SDK."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict

METHOD_LIMIT = 127 * 1024  # bytes of an answer; a hub takes 128 KiB


class HubClient:
    """Connects as the module that IoT Edge started us as.

    `on_desired` and `on_method` are called on threads of the SDK, and have to return at once.
    """

    def __init__(self) -> None:
        from azure.iot.device import IoTHubModuleClient

        self._client: Any = IoTHubModuleClient.create_from_edge_environment()

    def connect(
        self,
        on_desired: Callable[[], None],
        on_method: Callable[[Any], None],
        on_message: Callable[[Any], None],
    ) -> None:
        self._client.on_twin_desired_properties_patch_received = lambda _: on_desired()
        self._client.on_method_request_received = on_method
        self._client.on_message_received = on_message
        # After a broken connection patches may have been missed.
        self._client.on_connection_state_change = lambda: on_desired() if self._client.connected else None
        self._client.connect()

    @property
    def is_connected(self) -> bool:
        """False also after what the SDK does not try again by itself; any call to the hub then connects."""
        return bool(self._client.connected)

    def twin(self) -> Dict[str, Any]:
        return dict(self._client.get_twin())

    def report(self, patch: Dict[str, Any]) -> None:
        """Returns once the hub has it; raises whatever the SDK raises otherwise."""
        self._client.patch_twin_reported_properties(patch)

    def answer(self, request: Any, status: int, payload: Dict[str, Any]) -> None:
        """Answer a direct method."""
        from azure.iot.device import MethodResponse

        if len(json.dumps(payload)) > METHOD_LIMIT:
            status, payload = 413, {"ok": False, "code": "too-large", "error": "the answer is too long"}
        self._client.send_method_response(MethodResponse.create_from_method_request(request, status, payload))

    def send(self, payload: bytes, output: str) -> None:
        """Send a message to where the deployment's routes lead."""
        from azure.iot.device import Message

        kind: Any = Message  # which has no types
        message = kind(payload, content_encoding="utf-8", content_type="application/json")
        self._client.send_message_to_output(message, output)

    def close(self) -> None:
        self._client.shutdown()
