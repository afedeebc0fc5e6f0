"""The user that the service runs as: no login, no home, no more groups than an accelerator needs."""

from __future__ import annotations

import grp
import os
import pwd
import re
from typing import Any, Dict, List

from .board_error import BoardError
from .commands import run
from .files import Json

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}\Z")
# Who may open an Edge TPU on USB (Debian's group for plugged devices) and on PCIe (Google's driver).
DEVICE_GROUPS = ("plugdev", "apex")


def described_user(request: Json) -> Dict[str, Any]:
    name = user_name(request)
    return {"name": name, "present": bool(name) and exists(name), "groups": groups_of(name)}


def user_name(request: Json) -> str:
    name = request.get("user", "")
    if not isinstance(name, str) or (name and not NAME.match(name)):
        raise BoardError("bad-request", "user is not a user's name")
    return name


def ensure_user(name: str) -> bool:
    """Have the user, in each of `DEVICE_GROUPS` that exists; true if that took a change.

    Raises:
        BoardError: `user-failed`; or `no-permission`, when only root could do it.
    """
    changed = not exists(name)
    if changed:
        nowhere = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", nologin()]
        change(["useradd", "--system", "--user-group", *nowhere, name])
    lacking = [group for group in DEVICE_GROUPS if group_exists(group) and group not in groups_of(name)]
    if lacking:
        change(["usermod", "--append", "--groups", ",".join(lacking), name])
    return changed or bool(lacking)


def exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def groups_of(name: str) -> List[str]:
    return sorted(group.gr_name for group in grp.getgrall() if name and name in group.gr_mem)


def nologin() -> str:
    places = ("/usr/sbin/nologin", "/sbin/nologin")
    return next((path for path in places if os.path.exists(path)), "/bin/false")


def change(argv: List[str]) -> None:
    if os.geteuid() != 0:
        raise BoardError("no-permission", "only root can make the user; the manifest can say `become: true`")
    run(argv, "user-failed", 60)
