"""A verb's result in the form that `--output` asks for."""

from collections.abc import Sequence
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
