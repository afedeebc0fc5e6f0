"""Planning 10,000 and 100,000 boards, against libyaml's parser draining its events from the same manifest.

The boards are as git says, so that every one is looked at file by file; asking them is left out. Memory is
that of a process of its own which reads, renders and plans, at its largest.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from msgspec.structs import replace
from toy_build import ToyStages, toy_photos

from benchmarks.harness import NotMeasured, Result, against, interleave, versus
from fleetctl.build.builder import build
from fleetctl.desired import Desired, desired_fleet
from fleetctl.manifest.loader import load
from fleetctl.manifest.looking import load_to_look
from fleetctl.manifest.schema import Fleet
from fleetctl.observation import Loaded, Observed
from fleetctl.project import Project
from fleetctl.render import many
from fleetctl.render.renderer import Renderer

SIZES = {10_000: 5, 100_000: 2}  # boards: rounds
MOST, NO_SLOWER = 2.0, 1.0
EVENTS = "libyaml's events alone"
ONE, TWO = "releases rendered, one process", "releases rendered, two processes"
UNCHANGED = "the same manifest, unchanged, with waves and steps"
HEAD = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 6}
groups:
  canary: {boards: [b000000]}
  karnak: {match: {site: site-1}, config: {threshold: 0.6}}
rollout:
  waves: [{group: canary}, {percent: 100}]
boards:
"""


def measure() -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as name:
        manifest = built_fleet(Path(name))
        for boards, rounds in SIZES.items():
            manifest.write_text(text(boards))
            yield from _timed(manifest, rounds)
        yield from _memory(manifest)


def text(boards: int) -> str:
    """A manifest of one line for each board, 88 bytes."""
    lines = (
        f"  b{n:06d}: {{board: raspberrypi4, model: toy, host: 10.{n >> 16}.{n >> 8 & 255}.{n & 255}, "
        f"labels: {{site: site-{n % 40}}}}}\n"
        for n in range(boards)
    )
    return HEAD + "".join(lines)


def built_fleet(folder: Path) -> Path:
    """A built fleet in a repository that leaves `.fleetctl/` out of git."""
    manifest = folder / "inventory" / "fleet.yaml"
    toy_photos(manifest.parent)
    (folder / ".gitignore").write_text(".fleetctl/\n")
    manifest.write_text(text(3))
    build(load(manifest), Project(manifest), stages=ToyStages())
    return manifest


def _timed(manifest: Path, rounds: int) -> Iterator[Result]:
    fleet = load_to_look(manifest)
    desired = desired_fleet(Project(manifest), fleet, list(fleet.boards))
    observed = {name: converged(desired, name) for name in fleet.boards}
    ways = {
        EVENTS: lambda: drain(manifest),
        "manifest read and checked": lambda: _forget(load(manifest)),
        "the same manifest, unchanged": lambda: _forget(load_to_look(manifest)),
        ONE: lambda: render(manifest, fleet, desired, 1),
        TWO: lambda: render(manifest, fleet, desired, 2),
        "waves and steps": lambda: _forget(desired.plan(observed)),
        UNCHANGED: lambda: look_and_plan(manifest, desired, observed),
    }
    goals = {"manifest read and checked": MOST, UNCHANGED: MOST}
    label, samples = f"{len(fleet.boards):,} boards, ", interleave(ways, rounds)
    others = {name: goals.get(name) for name in ways if name != EVENTS}
    yield from against(samples, EVENTS, others, label=label)
    yield versus(samples, TWO, ONE, NO_SLOWER, label=label)


def _forget(_: object) -> None:
    """Timed as a whole, whatever it gave."""


def drain(manifest: Path) -> None:
    """What libyaml takes, with PyYAML's objects for its events and nothing made of them."""
    with manifest.open("rb") as stream:
        parser = yaml.CSafeLoader(stream)
        while parser.get_event() is not None:
            pass


def look_and_plan(manifest: Path, desired: Desired, observed: Mapping[str, Observed]) -> None:
    replace(desired, fleet=load_to_look(manifest)).plan(observed)


def render(manifest: Path, fleet: Fleet, desired: Desired, processes: int) -> None:
    renderer = Renderer.of(Project(manifest).templates)
    smoke = fleet.models["toy"].smoke
    wanted = [many.Wanted(board, desired.artifacts[name], smoke) for name, board in fleet.boards.items()]
    for release, _ in many.releases(renderer, wanted, processes=processes):
        assert release.files


def converged(desired: Desired, name: str) -> Observed:
    """What a board says that does what git says."""
    release = desired.releases[name]
    digest, files = release.digest, {path: ref.sha256 for path, ref in release.files.items()}
    loaded = Loaded(digest, files["model/model.tflite"], "cpu")
    return Observed(name, current=digest, good=digest, files=files, service="running", loaded=loaded)


def _memory(manifest: Path) -> Iterator[Result]:
    if sys.platform != "linux":
        raise NotMeasured("the kernel's record of a process's memory is Linux's")
    peak = {}
    for boards in (0, *SIZES):
        manifest.write_text(text(max(3, boards)))
        argv = [sys.executable, "-m", "benchmarks.plan", str(manifest)]
        peak[boards] = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)["mib"]
    few, lots = SIZES
    a_board: Mapping[int, float] = {n: 1024 * (peak[n] - peak[0]) / n for n in SIZES}
    for boards in SIZES:
        yield Result(f"{boards:,} boards, memory of a whole plan", round(peak[boards]), "MiB")
    yield Result(f"memory a board of {few:,}", round(a_board[few], 1), "KiB")
    ratio = a_board[lots] / a_board[few]
    peer = f"memory a board of {few:,}"
    yield Result(f"memory a board of {lots:,}", round(a_board[lots], 1), "KiB", peer, round(ratio, 2), 1.1)


def _plan(manifest: Path) -> None:
    """In a process of its own: a plan of all boards, and the most memory it took."""
    fleet = load(manifest)
    desired = desired_fleet(Project(manifest), fleet, list(fleet.boards))
    files = {path: ref.sha256 for path, ref in next(iter(desired.releases.values())).files.items()}
    observed = {name: Observed(name, current="0" * 64, files=files) for name in fleet.boards}
    assert not desired.plan(observed).is_empty
    # Not getrusage: that counts what the process was forked from.
    (most,) = (
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    print(json.dumps({"mib": int(most.split()[1]) / 1024}))


if __name__ == "__main__":
    _plan(Path(sys.argv[1]))
