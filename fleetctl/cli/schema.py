"""`fleetctl schema`: the formats of what is read and printed, for editors, for CI and for people."""

from typing import Annotated

import typer

from fleetctl.cli.options import Output, OutputOption


def schema(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A verb's JSON, such as `status`; absent: the manifest.")
    ] = "",
    output: OutputOption = Output.JSON,
) -> None:
    """Print the JSON Schema of the manifest, or of what a verb prints.

    A verb prints it with `--output json`. With `--output markdown`, the reference tables of the manual.
    """
    from fleetctl.manifest.json_schema import json_schema_text
    from fleetctl.manifest.reference import reference
    from fleetctl.report.console import emit_text
    from fleetctl.report.schemas import schema_json, schema_markdown

    match (name, output):
        case ("", Output.MARKDOWN):
            emit_text(reference())
        case ("", _):
            emit_text(json_schema_text())
        case (_, Output.MARKDOWN):
            emit_text(schema_markdown(name))
        case _:
            emit_text(schema_json(name))
