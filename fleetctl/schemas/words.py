"""Words to write JSON Schemas with: every property is named, explained, and always there."""

from typing import Any

JsonSchema = dict[str, Any]


def text(doc: str, **more: Any) -> JsonSchema:
    return {"type": "string", "description": doc, **more}


def digest(doc: str) -> JsonSchema:
    """A sha256 in lower-case hex."""
    return text(doc, pattern="^[0-9a-f]{64}$")


def word(doc: str, *options: str) -> JsonSchema:
    """One of a few words."""
    return {"enum": list(options), "description": doc}


def number(doc: str, **more: Any) -> JsonSchema:
    return {"type": "number", "description": doc, **more}


def whole(doc: str, **more: Any) -> JsonSchema:
    return {"type": "integer", "description": doc, **more}


def truth(doc: str) -> JsonSchema:
    return {"type": "boolean", "description": doc}


def anything(doc: str) -> JsonSchema:
    """What somebody else decides: a board's receipt, a user's config."""
    return {"description": doc}


def mapping(doc: str, value: JsonSchema) -> JsonSchema:
    """Names to values of one kind."""
    return {"type": "object", "description": doc, "additionalProperties": value}


def items(doc: str, of: JsonSchema) -> JsonSchema:
    return {"type": "array", "description": doc, "items": of}


def texts(doc: str) -> JsonSchema:
    return items(doc, {"type": "string"})


def maybe(schema: JsonSchema) -> JsonSchema:
    """The same, or null."""
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [schema["type"], "null"]}


def record(doc: str = "", /, **properties: JsonSchema) -> JsonSchema:
    """An object with exactly these properties."""
    return {
        "type": "object",
        **({"description": doc} if doc else {}),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def per_board(doc: str, /, **properties: JsonSchema) -> JsonSchema:
    """A list of one record a board, which says its name first."""
    return items(doc, record(board=text("name"), **properties))


def partly(schema: JsonSchema, *optional: str) -> JsonSchema:
    """The same, in which some properties may be absent."""
    return schema | {"required": [name for name in schema["required"] if name not in optional]}


def document(name: str, doc: str, /, **properties: JsonSchema) -> JsonSchema:
    """The whole of what a verb prints: the name and version of its schema, and the rest."""
    whole_document = record(doc, schema={"const": name, "description": "name and version"}, **properties)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": name, **whole_document}
