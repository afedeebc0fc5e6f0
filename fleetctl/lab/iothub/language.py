"""The hub's query language: `SELECT ... FROM devices|devices.modules WHERE ...`, and target conditions.

As in SQL there are three values: a comparison with what a twin lacks is neither true nor false, and chooses
nothing.
"""

import functools
import json
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from fleetctl.lab.iothub.refusal import bad_argument

if TYPE_CHECKING:
    from lark import Lark, Tree

_MISSING = object()  # what a path leads to in a twin that lacks it
_QUERY_LIMIT = 8192  # bytes

Document = Mapping[str, Any]
Truth = bool | None
Condition = Callable[[Document], Truth]
Value = Callable[[Document], Any]

_GRAMMAR = r"""
query: "SELECT"i columns "FROM"i source ["WHERE"i condition] ["GROUP"i "BY"i path]
columns: "*" -> everything | column ("," column)*
column: (path | count) ["AS"i NAME]
count: "COUNT"i "(" ["*"] ")"
source: "devices.modules"i -> modules | "devices"i -> devices

?condition: conjunction ("OR"i conjunction)* -> any_of
?conjunction: negation ("AND"i negation)* -> all_of
?negation: "NOT"i negation -> negated | comparison
?comparison: value COMPARES value -> compared
    | value "IN"i list -> within
    | value "NIN"i list -> without
    | "(" condition ")"
    | call
call: FUNCTION "(" value ("," value)* ")"
list: "[" [value ("," value)*] "]"
?value: path | literal
literal: SIGNED_NUMBER -> number | STRING -> text | "true"i -> true | "false"i -> false | "null"i -> null
path: step ("." step)*
step: NAME | "[[" RAW "]]"

COMPARES: "!=" | "<>" | "<=" | ">=" | "=" | "<" | ">"
FUNCTION.2: /(is_(defined|null|string|bool|number|object)|startswith|endswith|contains)(?=\s*\()/i
NAME: /(?!(and|or|not|in|nin|where|from|group|as|true|false|null)\b)[A-Za-z_$][A-Za-z0-9_$-]*/i
RAW: /[^\[\]]+/
STRING: /'(?:''|[^'])*'/ | /"(?:[^"])*"/
%import common.SIGNED_NUMBER
%import common.WS
%ignore WS
"""

_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TESTS: Mapping[str, Callable[[Any], bool]] = {
    "is_null": lambda value: value is None,
    "is_string": lambda value: isinstance(value, str),
    "is_bool": lambda value: isinstance(value, bool),
    "is_number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "is_object": lambda value: isinstance(value, dict),
}
_TEXT_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": lambda text, part: part in text,
}


class Column(Struct, frozen=True):
    """One thing asked for: a value under a name, or how many rows there are."""

    name: str
    value: Value | None  # None: the count


class Query(Struct, frozen=True):
    """A query, understood."""

    of_modules: bool
    columns: tuple[Column, ...]  # empty: the whole twin
    condition: Condition
    group: tuple[str, Value] | None

    def rows(self, documents: Iterable[Document]) -> Iterator[Document]:
        """The answer, of twins in order."""
        chosen = (each for each in documents if self.condition(each) is True)
        if self.group or any(column.value is None for column in self.columns):
            yield from self._counted(chosen)
        elif not self.columns:
            yield from chosen
        else:
            yield from (self._row(each) for each in chosen)

    def _row(self, document: Document) -> Document:
        pairs = ((column.name, column.value(document)) for column in self.columns if column.value)
        return {name: value for name, value in pairs if value is not _MISSING}

    def _counted(self, documents: Iterable[Document]) -> Iterator[Document]:
        counts: dict[str, int] = {}
        keys: dict[str, Any] = {}  # by what they are written as: an object is no key of a dictionary
        for document in documents:
            key = self.group[1](document) if self.group else _MISSING
            text = "" if key is _MISSING else json.dumps(key, sort_keys=True)
            keys[text] = key
            counts[text] = counts.get(text, 0) + 1
        if not self.group and not counts:
            yield self._group_row(_MISSING, 0)
        for text, number in counts.items():
            yield self._group_row(keys[text], number)

    def _group_row(self, key: Any, number: int) -> Document:
        values = ((column.name, number if column.value is None else key) for column in self.columns)
        return {name: value for name, value in values if value is not _MISSING}


@functools.lru_cache(maxsize=256)
def parse_query(text: str) -> Query:
    """The query that `text` is.

    Raises:
        HubRefusal: it is none that a hub understands, or too long; the message says where.
    """
    tree = _parsed(text, "query")
    columns, source, condition, group = tree.children
    return Query(
        of_modules=source.data == "modules",
        columns=tuple(_column(each) for each in columns.children) if columns.data != "everything" else (),
        condition=_condition(condition) if condition else _always,
        group=(_steps(group)[-1], _path(group)) if group else None,
    )


@functools.lru_cache(maxsize=256)
def parse_condition(text: str) -> Condition:
    """The target condition that `text` is: `*` is every twin, the empty one none.

    Raises:
        HubRefusal: as above.
    """
    match text.strip():
        case "":
            return _never
        case "*":
            return _always
        case condition:
            return _condition(_parsed(condition, "condition"))


def _always(_: Document) -> Truth:
    return True


def _never(_: Document) -> Truth:
    return False


@functools.cache
def _parser() -> "Lark":
    from lark import Lark

    return Lark(
        _GRAMMAR, start=["query", "condition"], parser="earley", lexer="dynamic", maybe_placeholders=True
    )


def _parsed(text: str, start: str) -> "Tree[Any]":
    from lark.exceptions import UnexpectedInput

    if len(text.encode()) > _QUERY_LIMIT:
        raise bad_argument(f"a query has at most {_QUERY_LIMIT:,} bytes")
    try:
        return _parser().parse(text, start=start)
    except UnexpectedInput as error:
        place = f"at character {error.pos_in_stream}" if (error.pos_in_stream or -1) >= 0 else "at its end"
        raise bad_argument(f"the query is not understood {place}: {text[:200]}") from error


def _column(tree: Any) -> Column:
    what, name = tree.children
    if what.data == "count":
        return Column(str(name) if name else "$1", None)
    return Column(str(name) if name else _steps(what)[-1], _path(what))


def _condition(tree: Any) -> Condition:
    match tree.data:
        case "any_of":
            return functools.partial(_either, [_condition(each) for each in tree.children])
        case "all_of":
            return functools.partial(_both, [_condition(each) for each in tree.children])
        case "negated":
            inner = _condition(tree.children[0])
            return lambda document: None if (truth := inner(document)) is None else not truth
        case "compared":
            left, sign, right = tree.children
            return functools.partial(_compare, _COMPARISONS[sign], _value(left), _value(right))
        case "within" | "without":
            value, options = tree.children
            given = [each for each in options.children if each is not None]
            return _member(_value(value), given, tree.data == "within")
        case "call":
            return _call(str(tree.children[0]).lower(), [_value(each) for each in tree.children[1:]])
        case other:
            raise bad_argument(f"{other} is no condition")


def _either(conditions: list[Condition], document: Document) -> Truth:
    truths = [condition(document) for condition in conditions]
    return True if True in truths else None if None in truths else False


def _both(conditions: list[Condition], document: Document) -> Truth:
    truths = [condition(document) for condition in conditions]
    return False if False in truths else None if None in truths else True


def _compare(compares: Callable[[Any, Any], bool], left: Value, right: Value, document: Document) -> Truth:
    one, two = left(document), right(document)
    if one is _MISSING or two is _MISSING:
        return None
    if isinstance(one, bool) is not isinstance(two, bool):
        return compares is operator.ne
    try:
        return compares(one, two)
    except TypeError:  # a text and a number have no order
        return None


def _member(value: Value, options: list[Any], is_within: bool) -> Condition:
    choices = [_value(each) for each in options]
    if any(each.data == "path" for each in options):
        return lambda document: _among(value(document), [each(document) for each in choices], is_within)
    constants = frozenset(
        each({}) for each in choices
    )  # thousands of twins may be held against hundreds of names
    return lambda document: _among(value(document), constants, is_within)


def _among(one: Any, choices: Collection[Any], is_within: bool) -> Truth:
    if one is _MISSING:
        return None
    is_simple = one is None or isinstance(one, str | int | float)  # an object is none of any
    return (is_simple and one in choices) is is_within


def _call(name: str, values: list[Value]) -> Condition:
    if len(values) != (2 if name in _TEXT_TESTS else 1):
        raise bad_argument(f"{name} has not that many arguments")
    first = values[0]
    if name == "is_defined":
        return lambda document: first(document) is not _MISSING
    if name in _TESTS:
        return lambda document: (one := first(document)) is not _MISSING and _TESTS[name](one)
    return functools.partial(_text_test, _TEXT_TESTS[name], first, values[1])


def _text_test(test: Callable[[str, str], bool], first: Value, second: Value, document: Document) -> Truth:
    one, two = first(document), second(document)
    return test(one, two) if isinstance(one, str) and isinstance(two, str) else None


def _value(tree: Any) -> Value:
    match tree.data:
        case "path":
            return _path(tree)
        case "number":
            number = float(tree.children[0])
            return _constant(int(number) if number.is_integer() else number)
        case "text":
            raw = str(tree.children[0])
            return _constant(raw[1:-1].replace("''", "'") if raw[0] == "'" else raw[1:-1])
        case "true" | "false":
            return _constant(tree.data == "true")
        case _:
            return _constant(None)


def _constant(value: Any) -> Value:
    return lambda _: value


def _steps(tree: Any) -> list[str]:
    return [str(step.children[0]) for step in tree.children]


def _path(tree: Any) -> Value:
    return functools.partial(_follow, tuple(_steps(tree)))


def _follow(steps: tuple[str, ...], document: Document) -> Any:
    if steps[0] == "devices" and len(steps) > 1:  # `devices.deviceId`, as in joins
        steps = steps[1:]
    value: Any = document
    for step in steps:
        if not isinstance(value, Mapping) or step not in value:
            return _MISSING
        value = value[step]
    return value
