"""Whoever looks whether a lock is held is no holder himself."""

import fcntl
import os
from pathlib import Path

import pytest

from fleetctl.device.locks import is_flocked, try_flock


def test_two_who_look_do_not_take_each_other_for_holders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the process that a stale `serve.pid` names, long another one, would be ended in its place."""
    path = tmp_path / "lock"
    path.touch()
    seen: list[bool] = []
    flock = fcntl.flock

    def look_meanwhile(handle: int, how: int) -> None:
        flock(handle, how)
        monkeypatch.setattr(fcntl, "flock", flock)
        seen.append(is_flocked(str(path)))

    monkeypatch.setattr(fcntl, "flock", look_meanwhile)
    assert not is_flocked(str(path))
    assert seen == [False]


def test_a_holder_is_seen(tmp_path: Path) -> None:
    """For as long as its handle is open."""
    path = tmp_path / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    assert try_flock(handle)
    assert is_flocked(str(path))
    os.close(handle)
    assert not is_flocked(str(path))
