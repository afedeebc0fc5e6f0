"""What `make bench` makes of its benchmarks: turns, ratios, a table, and a file that says what is missing."""

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import benchmarks
from benchmarks import BENCHMARKS
from benchmarks.__main__ import LATEST, PAGE, conclude, keep, main, table, with_numbers
from benchmarks.apart import ended, told
from benchmarks.docker_world import demand_watches
from benchmarks.harness import (
    NotMeasured,
    Result,
    a_board,
    after,
    against,
    demand_memory,
    interleave,
    part,
    run,
    versus,
)

FOLDER = Path(benchmarks.__file__).parent
# Run by themselves: they need photos or another userland.
APART = {"arm64_scores", "detector_plates", "reader_protocols"}
NO_BENCHMARKS = {"__init__", "__main__", "apart", "harness"}
WHAT_THEY_ARE_MADE_OF = {"bare_interpreter", "by_hand", "docker_world", "pyinfra_peer", "shares", "unlearnt"}


def test_every_module_is_run_or_stands_apart() -> None:
    """Nothing in the folder is forgotten by `make bench`."""
    modules = {path.stem for path in FOLDER.glob("*.py")}

    assert set() == modules - {*BENCHMARKS, *APART, *NO_BENCHMARKS, *WHAT_THEY_ARE_MADE_OF}
    assert set(BENCHMARKS) <= modules


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_is_one_function(name: str) -> None:
    """A benchmark is a module with a `measure` that takes nothing."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    (measure,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "measure")

    assert [] == measure.args.args + measure.args.kwonlyargs


def test_ways_take_turns() -> None:
    """No way is tried again before every other had its turn; a way may say itself how long it took."""
    calls: list[str] = []

    def way(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    samples = interleave({"a": lambda: way("a", 1.0), "b": lambda: way("b", 2.0)}, 3)

    assert ["a", "b"] * 3 == calls
    assert {"a": [1.0] * 3, "b": [2.0] * 3} == samples


def test_what_says_nothing_is_timed_as_a_whole() -> None:
    """Preparation that is marked as such is left out of it."""
    done: list[str] = []
    samples = interleave(
        {"whole": lambda: done.append("whole"), "part": after(lambda: done.append("ready"), done.clear)}, 1
    )

    assert [] == done
    assert all(seconds >= 0 for way in samples.values() for seconds in way)


def test_ratios_are_of_medians() -> None:
    """One slow moment changes neither side."""
    samples = {"peer": [0.010, 0.010, 9.0], "ours": [0.030, 8.0, 0.030], "noted": [0.020] * 3}
    results = list(against(samples, "peer", {"ours": 2.0, "noted": None}, label="20 boards, "))

    assert [
        Result("20 boards, peer", 10.0, "ms"),
        Result("20 boards, ours", 30.0, "ms", "peer", 3.0, 2.0),
        Result("20 boards, noted", 20.0, "ms", "peer", 2.0),
    ] == results


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (Result("a", 5.0, "ms", "peer", 2.0, 2.0), "reached"),
        (Result("a", 5.0, "ms", "peer", 2.01, 2.0), "missed"),
        (Result("a", 5.0, "MiB", goal=4.0), "missed"),
        (Result("a", 4.0, "MiB", goal=4.0), "reached"),
        (Result("a", 5.0, "ms", "peer", 2.0), ""),
        (Result("a", None, "ms", goal=4.0, missing="no engine"), "not measured"),
    ],
)
def test_a_goal_is_the_most_that_may_be(result: Result, verdict: str) -> None:
    """It is about the ratio, or about the value where there is none; what has no value reached nothing."""
    assert verdict == result.verdict


def broken() -> Iterator[Result]:
    yield Result("first", 1.0, "s")
    raise ValueError("no such board")


def absent() -> Iterator[Result]:
    raise NotMeasured("no docker engine answers here")
    yield


def test_a_benchmark_that_cannot_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """It is in the table, in the file and in the last lines; nobody could take it for passed."""
    results = list(run("startup", absent))
    status = conclude(results)
    said = capsys.readouterr()

    assert [Result("startup", None, "", missing="no docker engine answers here")] == results
    assert "NOT MEASURED  no docker engine answers here" in table(results)
    assert (0, "0 reached, 0 missed, 1 not measured\n") == (status, said.out)
    assert "! startup was NOT MEASURED: no docker engine answers here\n" == said.err


def test_a_benchmark_that_breaks_keeps_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """The others go on, the traceback is shown, and the exit status is 1."""
    results = list(run("startup", broken))

    assert "startup: first" == results[0].name
    assert "it broke: ValueError: no such board" == results[1].missing
    assert "Traceback" in capsys.readouterr().err
    assert 1 == conclude(results)


def test_a_part_that_cannot_run_leaves_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    """What was measured before and after it is kept; its row says which part it is, and why."""

    def measure() -> Iterator[Result]:
        yield from part("docker boards", absent)
        yield from part("process lab", broken)
        yield Result("last", 2.0, "s")

    results = list(run("reads", measure))

    assert ["docker boards", "first", "process lab", "last"] == [
        row.name[len("reads: ") :] for row in results
    ]
    assert ["no docker engine answers here", "it broke: ValueError: no such board"] == [
        row.missing for row in results if row.value is None
    ]
    assert "Traceback" in capsys.readouterr().err


def test_a_board_among_more_is_held_against_one_of_fewer() -> None:
    """Time is divided by boards, so that twice as long for twice as many is no growth."""
    results = list(a_board({"20": [2.0, 2.0, 9.0], "100": [12.0]}, {"20": 20, "100": 100}, goal=1.1))

    assert [
        Result("20, a board", 100.0, "ms"),
        Result("100, a board", 120.0, "ms", "20, a board", 1.2, 1.1),
    ] == results


def test_another_peer_gives_another_ratio() -> None:
    """The same way, held against one that is not the peer of its row."""
    assert Result("20, ours, against pyinfra", 3000.0, "ms", "pyinfra", 1.5, 1.0) == versus(
        {"ours": [3.0], "pyinfra": [2.0]}, "ours", "pyinfra", 1.0, label="20, "
    )


def test_what_does_not_fit_is_not_measured() -> None:
    """Nobody has a million terabytes; a megabyte is always there."""
    demand_memory("a board", 1)
    if Path("/proc/meminfo").exists():
        with pytest.raises(NotMeasured, match="very many boards take"):
            demand_memory("very many boards", 10**12)


def test_what_the_kernel_has_no_watches_for_is_not_measured(tmp_path: Path) -> None:
    """systemd would end without a word; where nobody says how many there are, it is tried."""
    allowed = tmp_path / "max_user_instances"
    demand_watches(50, allowed)
    allowed.write_text("128\n")
    demand_watches(20, allowed)

    with pytest.raises(NotMeasured, match="50 docker boards take 300 inotify instances, and 128 are allowed"):
        demand_watches(50, allowed)


def test_a_process_that_is_killed_keeps_what_it_measured(tmp_path: Path) -> None:
    """A benchmark runs in a process of its own, whose end is told; a line that it did not finish is not."""
    file = tmp_path / "results"
    first = json.dumps(Result("plan: first", 1.0, "s").to_json())
    script = (
        f"import os; open({str(file)!r}, 'w').write({first + chr(10) + first[:9]!r}); os.kill(os.getpid(), 9)"
    )

    assert "it broke: its process ended with signal 9" == ended([sys.executable, "-c", script])
    assert [Result("plan: first", 1.0, "s")] == list(told(file))
    assert "it broke: its process ended with exit status 3" == ended([sys.executable, "-c", "exit(3)"])
    assert "" == ended([sys.executable, "-c", "pass"])


def test_a_benchmark_that_does_not_end_is_ended() -> None:
    """The others get their turn, and the table says what happened."""
    script = "import threading; threading.Event().wait()"

    assert "it broke: it did not end within 0.001 minutes" == ended([sys.executable, "-c", script], 0.06)


def test_results_replace_those_of_the_same_benchmark(tmp_path: Path) -> None:
    """A benchmark run alone leaves the rows of the others, and forgets those of one that is no longer."""
    latest = tmp_path / "results" / "latest.json"
    first, second = BENCHMARKS[:2]
    keep(latest, second, [Result(f"{second}: old", 1.0, "s")])
    keep(latest, first, [Result(f"{first}: x", 2.0, "s", "peer", 1.5, 2.0)])
    rows = json.loads(latest.read_text())
    latest.write_text(json.dumps([{"name": "gone: y"}, *rows]))
    keep(latest, second, [Result(second, None, "", missing="no engine")])

    assert [
        {"name": f"{first}: x", "value": 2.0, "unit": "s", "peer": "peer", "ratio": 1.5, "goal": 2.0},
        {"name": second, "value": None, "unit": "", "peer": None, "ratio": None, "goal": None}
        | {"missing": "no engine"},
    ] == json.loads(latest.read_text())
    assert [latest] == list(latest.parent.iterdir())


def test_the_table_reads_without_colour() -> None:
    """A missed goal stands out among those that were reached."""
    rows = [
        Result("plan: 10,000 boards", 1234.5, "ms", "libyaml", 1.9, 2.0),
        Result("plan: memory", 20.0, "MiB", goal=15.0),
    ]

    assert [
        "MEASURED             VALUE       RATIO  GOAL               AGAINST",
        "plan: 10,000 boards  1,234.5 ms  1.90x  ≤ 2x      reached  libyaml",
        "plan: memory         20.0 MiB           ≤ 15 MiB  MISSED",
    ] == table(rows).splitlines()


def test_an_unknown_benchmark_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is measured, and the names there are are listed."""
    assert 2 == main(["startpu"], tmp_path / "latest.json")
    assert f"no benchmark 'startpu'; there are {', '.join(BENCHMARKS)}\n" == capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


def test_the_manual_shows_what_was_measured(tmp_path: Path) -> None:
    """The table of docs/speed.md is that of the latest results; what is around it stays."""
    page, latest = PAGE.read_text(), tmp_path / "latest.json"
    keep(latest, "startup", [Result("startup: a | b", 2.0, "s", "peer", 1.5, 2.0)])
    other = with_numbers(page, latest)

    assert page == with_numbers(page, LATEST)
    assert "| startup: a \\| b | 2.0 s | 1.50x | ≤ 2x | reached | peer |" in other
    assert page == with_numbers(other, LATEST)
