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
    nothing: str = "",
) -> None:
    """Print `data` under the name of its `schema` for machines, else the table of `rows` for people.

    Where there is no row there is no table; `nothing` says in its place what is so.
    """
    from fleetctl.report.console import emit_json, emit_markdown_table, emit_table, emit_text, talk

    match output:
        case Output.JSON:
            emit_json(schema, data)
        case Output.MARKDOWN if nothing and not rows:
            emit_text(nothing)
        case Output.TABLE if nothing and not rows:
            talk.note(nothing)
        case _ if not rows:
            pass
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
