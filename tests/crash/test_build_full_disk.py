"""A disk that fills while a model is built, and a system that refuses: at each thing that a build writes.

Two kinds of proof. On a real disk of a few KiB, one size after the other, writes fail where they fail, in the
middle of a file too. And by Python's audit events, the n-th call that would write is refused, for every n.
"""

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from toy_build import ToyStages, locked_toy, toy_fleet

from fleetctl.artifact import verify_artifact
from fleetctl.build.builder import build
from fleetctl.errors import BuildError, FleetError
from fleetctl.project import Project
from fleetctl.store import BlobStore, sha256

ENDLESS = 500
PAGE = 4096


def writes(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is a call that takes room on a disk."""
    if event == "open":
        flags = arguments[2]
        return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in ("os.mkdir", "os.rename", "os.link", "os.symlink")


def refused_from(number: int, error: OSError, work: Callable[[], object]) -> dict[str, object] | None:
    """Run `work` in a child whose `number`-th writing call, and all after it, are refused.

    What the build raised; None where it ended before that.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        left = [number]

        def refuse(event: str, arguments: tuple[object, ...]) -> None:
            if writes(event, arguments):
                left[0] -= 1
                if left[0] <= 0:
                    raise OSError(error.errno, error.strerror, str(arguments[0]))

        said: dict[str, object] | None = {"kind": "an error that is none of fleetctl's"}
        try:
            sys.addaudithook(refuse)
            work()
            said = None
        except (FleetError, OSError) as raised:
            code = getattr(raised, "exit_code", None)
            said = {"kind": type(raised).__name__, "exit_code": code, "message": str(raised)}
        finally:
            os.write(writing, json.dumps(said).encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    os.waitpid(child, 0)
    found = json.loads(told)
    assert found is None or isinstance(found, dict)
    return found


def demand_sound(project: Project, lock: bytes | None) -> None:
    """The lock as it was; no blob that is not what its name says; nothing half-written lying about."""
    assert lock == (project.lockfile.read_bytes() if project.lockfile.exists() else None)
    for blob in project.store.glob("sha256/*"):
        assert sha256(blob.read_bytes()) == blob.name
    for folder in (project.artifacts, project.state):
        assert [] == [path for path in folder.rglob(".*") if path.is_file()]


def reference(root: Path) -> bytes:
    """The lock that an undisturbed build writes."""
    fleet, project = toy_fleet(root)
    build(fleet, project, stages=ToyStages())
    return project.lockfile.read_bytes()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_a_build_that_is_refused_any_write_says_so(tmp_path: Path, code: int) -> None:
    """Exit 20 with the file that could not be written, and what is left; the next build ends as it should."""
    expected = reference(tmp_path / "reference")
    places = (toy_fleet(tmp_path / str(number)) for number in itertools.count())
    reason = os.strerror(code)
    for number in range(1, ENDLESS):
        fleet, project = next(places)
        said = refused_from(number, OSError(code, reason), partial(build, fleet, project, stages=ToyStages()))
        if said is None:
            assert number > 10, "hardly anything was refused: this test tests nothing"
            return

        assert ("BuildError", 20) == (said["kind"], said.get("exit_code")), (number, said)
        message = str(said["message"])
        assert message.startswith(f"cannot write {tmp_path}") and reason in message
        assert ("MiB free in " in message) == (code == errno.ENOSPC)
        demand_sound(project, None)
        build(fleet, project, stages=ToyStages())
        assert expected == project.lockfile.read_bytes()
    raise AssertionError("the build never ends")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts disks of so many bytes, one after the other; skips aloud where that is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def mount(size: int) -> Path:
        nonlocal mounted
        unmount()
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"no disk can be mounted here: {made.stderr.strip()}")
        mounted = True
        return folder

    def unmount() -> None:
        nonlocal mounted
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
            mounted = False

    if shutil.which("mount") is None:
        pytest.skip("no disk can be mounted here: there is no `mount`")
    yield mount
    unmount()


def test_a_build_on_a_disk_that_is_too_small_says_so(
    tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """However many bytes there are, too few for a build: exit 20, the file, the free space, and no damage."""
    expected = reference(tmp_path / "reference")
    refused = set()
    for pages in range(1, ENDLESS):
        disk = small_disk(pages * PAGE)
        try:
            fleet, project = toy_fleet(disk)
        except OSError:
            continue  # too small for the photos themselves
        try:
            build(fleet, project, stages=ToyStages())
        except BuildError as error:
            refused.add(Path(error.message.split()[2].rstrip(":")).relative_to(disk).parts[:2])
            assert "No space left on device (0.0 MiB free in " in error.message
            assert "make room" in error.hint
            demand_sound(project, None)
            continue
        assert expected == project.lockfile.read_bytes()
        assert len(refused) > 2, refused
        return
    raise AssertionError("no disk is large enough")


def test_a_disk_that_fills_leaves_the_locked_model(small_disk: Callable[[int], Path]) -> None:
    """What was locked before stays whole and usable while a newer model finds no room."""
    disk = small_disk(64 * PAGE)
    fleet, project = toy_fleet(disk)
    build(fleet, project, stages=ToyStages())
    before = project.lockfile.read_bytes()
    (project.inventory / "photos" / "000000_G17.png").write_bytes(b"another photo")
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
        while True:
            stream.write(b"x" * PAGE)

    with pytest.raises(BuildError, match="No space left on device"):
        build(fleet, project, stages=ToyStages())

    demand_sound(project, before)
    for variant in locked_toy(project).variants.values():
        verify_artifact(variant.artifact, BlobStore(project.store))
    ballast.unlink()
    build(fleet, project, stages=ToyStages())
    assert before != project.lockfile.read_bytes()
