"""`fleetctl schema`: the manifest's format, for editors, for CI and for people."""

from fleetctl.cli.options import Output, OutputOption


def schema(output: OutputOption = Output.JSON) -> None:
    """Print the manifest's JSON Schema, for editors and CI.

    With `--output markdown`, the reference tables of the manual.
    """
    from fleetctl.manifest.json_schema import json_schema_text
    from fleetctl.manifest.reference import reference
    from fleetctl.report.console import emit_text

    emit_text(reference() if output is Output.MARKDOWN else json_schema_text())
