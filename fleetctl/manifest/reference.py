"""The reference tables of docs/manifest.md, generated from the description that the decoder reads by."""

from fleetctl.manifest.compounds import Field, ListOf, MapOf, Named, Record, Tagged
from fleetctl.manifest.document import FLEET, GROUP, PART
from fleetctl.manifest.kinds import Kind

_FROM_SETTINGS = ("boards", "match")  # the keys of a group that are not board settings


def reference() -> str:
    """Markdown: a heading and a table for every record of the manifest."""
    return "\n".join(_section(record) for record in _records())


def _records() -> list[Record]:
    found: dict[str, Record] = {}
    todo: list[Kind | Record] = [FLEET, PART]
    while todo:
        kind = todo.pop(0)
        if isinstance(kind, Record):
            if kind.name not in found:
                found[kind.name] = kind
                todo += [field.kind for field in kind.fields]
        elif isinstance(kind, Named | ListOf):
            todo.append(kind.item)
        elif isinstance(kind, MapOf):
            todo.append(kind.value)
        elif isinstance(kind, Tagged):
            todo += kind.cases.values()
    return list(found.values())


def _section(record: Record) -> str:
    rows = [_row(record, field) for field in _shown(record)]
    note = "\nand every key of [board settings](#board-settings).\n" if record is GROUP else ""
    table = "\n".join(["| key | value | default | meaning |", "| --- | --- | --- | --- |", *rows])
    return f"### {record.name}\n\n{table}\n{note}"


def _shown(record: Record) -> list[Field]:
    return [field for field in record.fields if record is not GROUP or field.name in _FROM_SETTINGS]


def _row(record: Record, field: Field) -> str:
    cells = [f"`{field.name}`", field.kind.label, _default(record, field), field.doc]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(record: Record, field: Field) -> str:
    if field.required:
        return "required"
    value = record.default(field)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if value is None else f"`{value}`"
