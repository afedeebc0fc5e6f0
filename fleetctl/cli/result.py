"""A verb's result in the form that `--output` asks for."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fleetctl.cli.options import Output


def show(
    output: Output,
    *,
    schema: str,
    data: dict[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Print `data` under the name of its `schema` for machines, else the table of `rows` for people."""
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table

    match output:
        case Output.JSON:
            emit_json(schema, data)
        case Output.MARKDOWN:
            emit_markdown_table(columns, rows)
        case Output.TABLE:
            emit_table(columns, rows)


@contextmanager
def read_or_not() -> Iterator[None]:
    """Print what nobody may read any more, as behind `| head`: the exit status says what became of boards."""
    from fleetctl.report.console import silence

    try:
        yield
    except BrokenPipeError:
        silence(sys.stdout)
