"""What `edgetpu_compiler` says: counts, sizes and statuses where it succeeded, one clear error where not.

It prints the same facts in several shapes: a table only with `--show_operations` (and always in its log),
counts of the processor's share only if there is one, other names for sizes in old versions. A run may exit 0,
say "Model compiled successfully" and have mapped nothing: only counts are believed.
"""

import re

from msgspec import Struct

from fleetctl.errors import BuildError

MAPPED = "Mapped to Edge TPU"

_OTHER = "use edgetpu_compiler 16.0"

_VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
# An operator's row: name, count, where its instances run. The columns are aligned by tabs or spaces.
_ROW = re.compile(r"^([A-Za-z]\w*)[ \t]+(\d+)[ \t]+(\S.*?)[ \t\r]*$", re.MULTILINE)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_TOTAL = re.compile(r"^Total number of operations: (\d+)", re.MULTILINE)
_ON_TPU = re.compile(r"^Number of operations that will run on Edge TPU: (\d+)", re.MULTILINE)
_ON_CPU = re.compile(r"^Number of operations that will run on CPU: (\d+)", re.MULTILINE)
_SUBGRAPHS = re.compile(r"^Number of Edge TPU subgraphs: (\d+)", re.MULTILINE)
_ON_CHIP = re.compile(r"^On-chip memory used for caching model parameters: (\S+)", re.MULTILINE)
_OFF_CHIP = re.compile(r"^Off-chip memory used for streaming uncached model parameters: (\S+)", re.MULTILINE)


class Row(Struct, frozen=True):
    """Operations of one kind that share a fate."""

    op: str
    count: int
    status: str


class Report(Struct, frozen=True):
    """A successful run. Sizes are bytes as far as the compiler's two decimals tell; None where not said."""

    version: str | None
    mapped: int
    total: int
    rows: tuple[Row, ...] = ()
    subgraphs: int | None = None
    on_chip: int | None = None
    off_chip: int | None = None

    @property
    def left(self) -> tuple[Row, ...]:
        """What stays on the processor, and why; empty where the compiler listed nothing."""
        return tuple(row for row in self.rows if row.status != MAPPED)


def version(text: str) -> str | None:
    """The version in the compiler's banner."""
    found = _VERSION.search(text)
    return found.group(1) if found else None


def parse(stdout: str, log: str = "") -> Report:
    """Read what a successful run printed, and the log file it wrote; either will do.

    Raises:
        BuildError: they do not say where the operations run, or contradict each other.
    """
    rows = _rows(log) or _rows(stdout)
    counted = _counts(stdout)
    listed = _listed(rows)
    if counted and listed and counted != listed:
        raise BuildError(
            f"the Edge TPU compiler contradicts itself: it counts {_said(counted)} and lists {_said(listed)}",
            hint=_OTHER,
        )
    counts = listed or counted
    if counts is None:
        raise BuildError(
            f"the Edge TPU compiler did not say where the operations run: {last_line(stdout or log)}",
            hint=_OTHER,
        )
    return Report(
        version=version(stdout) or version(log),
        mapped=counts[0],
        total=counts[1],
        rows=rows,
        subgraphs=_number(_SUBGRAPHS, stdout),
        on_chip=_bytes(_ON_CHIP, stdout),
        off_chip=_bytes(_OFF_CHIP, stdout),
    )


def last_line(text: str) -> str:
    """The compiler's own last word, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it said nothing"


def _rows(text: str) -> tuple[Row, ...]:
    return tuple(Row(op, int(count), status) for op, count, status in _ROW.findall(text) if len(count) < 10)


def _listed(rows: tuple[Row, ...]) -> tuple[int, int] | None:
    total = sum(row.count for row in rows)
    return (sum(row.count for row in rows if row.status == MAPPED), total) if total else None


def _counts(text: str) -> tuple[int, int] | None:
    """Mapped and total by the sentences; those about the processor are absent where it has nothing to do."""
    total, on_tpu, on_cpu = (_number(pattern, text) for pattern in (_TOTAL, _ON_TPU, _ON_CPU))
    if on_tpu is not None and on_cpu is not None:
        if total not in (None, on_tpu + on_cpu):
            raise BuildError(
                f"the Edge TPU compiler contradicts itself: {on_tpu} operations on the Edge TPU and {on_cpu} "
                f"on the processor are not {total} in all",
                hint=_OTHER,
            )
        return on_tpu, on_tpu + on_cpu
    if not total:
        return None
    return (0 if _number(_SUBGRAPHS, text) == 0 else total), total


def _said(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]} operations as mapped"


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    return int(found.group(1)) if found and len(found.group(1)) < 10 else None


def _bytes(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    size = _SIZE.fullmatch(found.group(1)) if found else None
    return round(float(size.group(1)) * _UNITS[size.group(2)]) if size else None
