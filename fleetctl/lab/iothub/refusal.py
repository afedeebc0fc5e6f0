"""What a hub says no with: status, name of the error, and a sentence, in the form that Azure's has."""

import math
import uuid
from typing import Any

THROTTLED = "ThrottlingException"


class HubRefusal(Exception):
    """The hub declines. `code` is one of the names that the REST specification lists."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after = retry_after  # seconds

    def body(self) -> dict[str, Any]:
        """The JSON that goes with the status."""
        return {
            "Message": f"ErrorCode:{self.code};{self.message}",
            "ExceptionMessage": f"Tracking ID:{uuid.uuid4().hex}",
        }

    def headers(self) -> dict[str, str]:
        """What goes with the status besides: the bare name of the error, and when to come back."""
        headers = {"iothub-errorcode": self.code}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return headers


def bad_argument(message: str) -> HubRefusal:
    return HubRefusal(400, "ArgumentInvalid", message)


def no_device(device: str) -> HubRefusal:
    return HubRefusal(404, "DeviceNotFound", f"device {device} is not registered")


def no_module(device: str, module: str) -> HubRefusal:
    return HubRefusal(404, "ModuleNotFound", f"module {module} of device {device} is not registered")


def etag_differs(what: str) -> HubRefusal:
    return HubRefusal(412, "PreconditionFailed", f"the etag of {what} is another one by now")
