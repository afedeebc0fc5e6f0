"""`python -m benchmarks [NAME ...]`: run every benchmark, or those named; print a table, keep the numbers.

`benchmarks/results/latest.json` holds a list of {name, value, unit, peer, ratio, goal}; `docs/speed.md` shows
it. Where only some were asked for, the rows of the others stay as they are. What could not be measured has
no value, and `missing` says why. The exit status is 1 when a benchmark broke; missed goals are for people.
"""

import compileall
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import fleetctl
from benchmarks import BENCHMARKS
from benchmarks.apart import measured
from benchmarks.harness import BROKE, Result
from fleetctl.report.console import markdown_table, table_text
from fleetctl.store import atomic_write

LATEST = Path(__file__).parent / "results" / "latest.json"
PAGE = Path(__file__).parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- measured -->\n", "<!-- end of what was measured -->\n"
COLUMNS = ("measured", "value", "ratio", "goal", "", "against")


def main(arguments: Sequence[str], latest: Path = LATEST, page: Path = PAGE) -> int:
    if unknown := [name for name in arguments if name not in BENCHMARKS]:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    # As an installed package is; where PYTHONDONTWRITEBYTECODE is set, a clone would never be.
    compileall.compile_dir(Path(fleetctl.__file__).parent, quiet=2)
    results: list[Result] = []
    for name in arguments or BENCHMARKS:
        print(f"→ {name}", file=sys.stderr, flush=True)
        found = measured(name)
        results += found
        keep(latest, name, found)
        atomic_write(page, with_numbers(page.read_text(), latest))
        print(table(found) + "\n", flush=True)
    return conclude(results)


def keep(latest: Path, name: str, results: Iterable[Result]) -> None:
    """Put a benchmark's rows in the place of those it left before, in the order of BENCHMARKS."""
    rows = [row for row in _kept(latest) if _benchmark(row["name"]) not in (name, "")]
    rows += [result.to_json() for result in results]
    rows.sort(key=lambda row: BENCHMARKS.index(_benchmark(row["name"])))
    atomic_write(latest, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def with_numbers(page: str, latest: Path) -> str:
    """The page of the manual with these results in the place of those it shows."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [_cells(Result(**row)) for row in _kept(latest)]
    return f"{before}{BEGIN}\n{markdown_table(COLUMNS, rows)}\n\n{END}{after}"


def _kept(latest: Path) -> list[dict[str, Any]]:
    rows = json.loads(latest.read_text()) if latest.exists() else []
    assert isinstance(rows, list)
    return rows


def _benchmark(row: str) -> str:
    """The benchmark that a row came from; empty for one that is no longer."""
    name = row.partition(":")[0]
    return name if name in BENCHMARKS else ""


def table(results: Iterable[Result]) -> str:
    return table_text(COLUMNS, [_cells(result) for result in results])


def _cells(result: Result) -> list[str]:
    if result.value is None:
        return [result.name, "", "", "", "NOT MEASURED", result.missing]
    ratio = "" if result.ratio is None else f"{result.ratio:.2f}x"
    unit = "x" if result.ratio is not None else f" {result.unit}"
    goal = "" if result.goal is None else f"≤ {result.goal:g}{unit}"
    verdict = {"missed": "MISSED"}.get(result.verdict, result.verdict)
    return [result.name, f"{result.value:,} {result.unit}", ratio, goal, verdict, result.peer or ""]


def conclude(results: Sequence[Result]) -> int:
    """Say in one line how it went, and what was not measured in one line each."""
    counts = dict.fromkeys(("reached", "missed", "not measured"), 0)
    for result in results:
        if result.verdict:
            counts[result.verdict] += 1
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    absent = [result for result in results if result.value is None]
    for result in absent:
        print(f"! {result.name} was NOT MEASURED: {result.missing}", file=sys.stderr)
    return int(any(result.missing.startswith(BROKE) for result in absent))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
