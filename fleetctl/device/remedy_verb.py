"""The verb `remedy`: one rung of the ladder for an accelerator that no longer answers; only when asked."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from typing import Any, Callable, Dict, List

from .activation import Activation
from .board_error import BoardError
from .call import Call
from .circumstances import TPU_AT_WORK, TPU_WITHOUT_FIRMWARE, usb_devices
from .login_session import leave_session

UNPLUGGED_S = 2.0


def remedy(call: Call) -> Dict[str, Any]:
    step = call.request.get("step")
    if step not in STEPS:
        raise BoardError("bad-request", "step is none of %s" % ", ".join(sorted(STEPS)))
    with call.lock("remedy"):
        return {"step": step, "done": STEPS[step](call)}


def restart_service(call: Call) -> str:
    """Have the service manager start the service of the current release anew."""
    current = call.board.current
    if current is None:
        raise BoardError("nothing-active", "this board has no release")
    Activation.of(call).service(current).start(current)
    return "the service was started anew"


def reset_usb(call: Call) -> str:
    """What pulling every USB Edge TPU would do, its power aside; then the service starts anew."""
    ports = unplug_and_plug("/")
    if not ports:
        raise BoardError("no-accelerator", "no Edge TPU shows on USB: check plug, cable and power")
    if call.board.current is not None:
        restart_service(call)
    return "port %s was reset" % ", ".join(ports)


def unplug_and_plug(slash: str) -> List[str]:
    """Take the Edge TPUs' USB ports away from the kernel, and give them back."""
    devices = usb_devices(slash)
    ports = [port for port, identity in devices.items() if identity in (TPU_WITHOUT_FIRMWARE, TPU_AT_WORK)]
    switches = [os.path.join(slash, "sys/bus/usb/devices", port, "authorized") for port in ports]
    with contextlib.ExitStack() as plugged_in_again:
        for switch in switches:
            plugged_in_again.callback(_write, switch, "1")
            _write(switch, "0")
        if ports and slash == "/":
            time.sleep(UNPLUGGED_S)
    return ports


def reboot(_: Call) -> str:
    """Boot the board anew, once this reply is on its way."""
    program = shutil.which("systemctl")
    if program is None:
        raise BoardError("no-systemd", "this board has no systemctl to reboot it with")
    with contextlib.suppress(BoardError):  # it reboots from where it is, then
        leave_session()  # logind may end the login behind this reply, and with it what waits a second
    words = "sleep 1; exec %s reboot" % program
    subprocess.Popen(
        ["sh", "-c", words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return "the board boots anew"


def _write(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


STEPS: Dict[str, Callable[[Call], str]] = {
    "restart-service": restart_service,
    "reset-usb": reset_usb,
    "reboot": reboot,
}
