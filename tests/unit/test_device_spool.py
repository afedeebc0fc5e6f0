"""The folder that pictures are dropped into: what is answered again, and what is left alone."""

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from fleetctl.device import spool as spool_module
from fleetctl.device.spool import Spool

LATER = 60  # every file has come to rest


class Model:
    """Knows whole pictures; counts what it is shown."""

    def __init__(self) -> None:
        self.shown = 0

    def __call__(self, data: bytes) -> dict[str, Any]:
        self.shown += 1
        if not data.endswith(b"end"):
            raise ValueError("the picture is cut short")
        return {"label": "G17"}


def answered(spool: Spool) -> int:
    return spool.answer_all(time.time() + LATER)


def said(folder: Path, name: str = "a.png") -> Any:
    return json.loads((folder / f"{name}.json").read_text())


def test_a_picture_that_paused_is_answered_when_it_is_whole(tmp_path: Path) -> None:
    """An error stands as long as the file does; another answer stands for good."""
    model = Model()
    spool = Spool(str(tmp_path), model, 1000)
    (tmp_path / "a.png").write_bytes(b"half")
    assert (answered(spool), answered(spool)) == (1, 0)
    assert said(tmp_path) == {"error": "the picture is cut short"}
    (tmp_path / "a.png").write_bytes(b"half and end")
    assert (answered(spool), answered(spool)) == (1, 0)
    assert said(tmp_path) == {"label": "G17"}
    (tmp_path / "a.png").write_bytes(b"another")
    assert (answered(spool), model.shown) == (0, 2)


def test_what_comes_while_it_is_read_is_a_change(tmp_path: Path) -> None:
    """The file is looked at before it is read, and the answer is about what it was then."""
    (tmp_path / "a.png").write_bytes(b"half")
    model = Model()

    def answer(data: bytes) -> dict[str, Any]:
        if not model.shown:
            (tmp_path / "a.png").write_bytes(b"half and end")
        return model(data)

    spool = Spool(str(tmp_path), answer, 1000)
    assert (answered(spool), answered(spool)) == (1, 1)
    assert said(tmp_path) == {"label": "G17"}


def test_one_that_outgrew_the_limit_may_shrink(tmp_path: Path) -> None:
    """A refusal for its size is an error like others."""
    spool = Spool(str(tmp_path), Model(), 10)
    (tmp_path / "a.png").write_bytes(bytes(11))
    answered(spool)
    assert "larger than 10 bytes" in said(tmp_path)["error"]
    (tmp_path / "a.png").write_bytes(b"end")
    answered(spool)
    assert said(tmp_path) == {"label": "G17"}


def test_errors_are_not_remembered_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, and those whose picture is gone."""
    monkeypatch.setattr(spool_module, "ERRORS_KEPT", 2)
    spool = Spool(str(tmp_path), Model(), 1000)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"half")
    answered(spool)
    assert sorted(spool._errors) == ["b.png", "c.png"]
    (tmp_path / "b.png").unlink()
    answered(spool)
    assert sorted(spool._errors) == ["c.png"]


class FullDisk:
    """Takes no file until there is room."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = True
        self.now = 1000.0
        self._rename = os.rename
        monkeypatch.setattr("os.rename", self.rename)
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def rename(self, source: str, target: str) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._rename(source, target)


def test_a_full_disk_is_asked_more_and_more_rarely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are not read over and over for answers that cannot be written; later all are answered."""
    disk, model = FullDisk(monkeypatch), Model()
    spool = Spool(str(tmp_path), model, 1000)
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"end")
    for _ in range(600):  # five minutes
        disk.now += spool_module.POLL_S
        try:
            assert answered(spool) == 0
        except OSError as error:
            assert error.errno == errno.ENOSPC
    assert 5 < model.shown < 15
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png", "c.png"}
    disk.is_full = False
    disk.now += spool_module.PUT_OFF_S
    assert answered(spool) == 3


def test_one_that_cannot_be_answered_is_put_off_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs an inference now and then, and others are answered at once."""
    disk, model = FullDisk(monkeypatch), Model()
    disk.is_full = False
    spool = Spool(str(tmp_path), model, 1000)
    (tmp_path / f"{'a' * 250}.png").write_bytes(b"end")
    with pytest.raises(OSError, match="too long"):
        answered(spool)
    (tmp_path / "b.png").write_bytes(b"end")
    assert (answered(spool), model.shown) == (1, 2)
    disk.now += 2
    with pytest.raises(OSError, match="too long"):
        answered(spool)
    assert (answered(spool), model.shown) == (0, 3)
