"""How the schemas of fleetctl's JSON are shown: as themselves, and as tables of the manual."""

import json
from collections.abc import Iterator

from fleetctl.errors import UsageError
from fleetctl.meant import did_you_mean
from fleetctl.report.console import Markup, markdown_table
from fleetctl.schemas import SCHEMAS, short_name
from fleetctl.schemas.words import JsonSchema


def schema_json(name: str) -> str:
    """The JSON Schema that `name` (`status`, or `fleetctl.status/v1`) stands for.

    Raises:
        UsageError: nothing is printed under that name.
    """
    return json.dumps(_find(name), indent=2, ensure_ascii=False)


def schema_markdown(name: str) -> str:
    """The same as a table: a row for each property, its path in front."""
    found = _find(name)
    rows = [
        [Markup(f"`{path}`"), Markup(_kind(schema)), Markup(schema.get("description", ""))]
        for path, schema in _rows(found, "")
    ]
    return f"{found['description']}\n\n{markdown_table(['property', 'value', 'meaning'], rows)}"


def _find(name: str) -> JsonSchema:
    for title, schema in SCHEMAS.items():
        if name in (title, short_name(title)):
            return schema
    names = sorted(map(short_name, SCHEMAS))
    hint = did_you_mean(name, names) or f"names are {', '.join(names)}"
    raise UsageError(f"nothing is printed as {name!r}", hint=hint)


def _rows(schema: JsonSchema, path: str) -> Iterator[tuple[str, JsonSchema]]:
    for name, value in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, value
        inner = value.get("items", value)
        yield from _rows(inner, f"{here}[]" if "items" in value else here)


def _kind(schema: JsonSchema) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join("null" if word is None else f"`{word}`" for word in schema["enum"])
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = {
        "array": "list",
        "object": "mapping",
        "string": "text",
        "boolean": "true or false",
        "integer": "whole number",
    }
    return " or ".join(names.get(kind, kind) for kind in kinds)
