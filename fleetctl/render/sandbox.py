"""A small, bounded part of Jinja2: it fills plain values into text and can do nothing else.

A template is untrusted. Before it is compiled, each node of its syntax tree must be on a short list, so that
a refusal has a line number and nothing depends on catching mischief in the act. Values are plain data (texts,
numbers, booleans, lists, mappings); `a.b` is the key `b`, never an attribute. What remains is bounded: loops
by their rounds, arithmetic by magnitude, text by length.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes, pass_context
from jinja2.exceptions import UndefinedError
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from fleetctl.errors import ManifestError, Problem
from fleetctl.meant import did_you_mean
from fleetctl.render.filters import FILTERS, MAX_TEXT, Json, Refusal
from fleetctl.render.reads import Place, places

MAX_TEMPLATE = 64 << 10  # characters of a template
MAX_ROUNDS = 10_000  # rounds of all loops of one rendering
MAX_NESTING = 2  # loops in loops
NAMES = ("board", "config", "labels", "model")  # all that a template knows

_MAX_NUMBER = 2.0**63
_BUDGET = "_budget"  # names with an underscore are refused, so no template can say these two
_ROUNDS = "_rounds"
_LOOP_FACTS = frozenset({"index", "index0", "first", "last", "length", "revindex", "revindex0"})
_TESTS = frozenset(
    {"boolean", "defined", "float", "integer", "mapping", "none", "number", "string", "undefined"}
)
_NODES: frozenset[type[nodes.Node]] = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.CondExpr),
        *(nodes.Name, nodes.Const, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Slice),
        *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Keyword),
        *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Concat),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
    }
)
_NO_FILES = ("a template reads no other file", "write the text here")
_WHY_NOT: Mapping[type[nodes.Node], tuple[str, str]] = {
    nodes.Call: ("a template calls nothing", "a filter may do it, such as `| tojson` or `| items`"),
    nodes.Include: _NO_FILES,
    nodes.Import: _NO_FILES,
    nodes.FromImport: _NO_FILES,
    nodes.Extends: _NO_FILES,
    nodes.Assign: ("a template sets nothing", "write the expression where it is used"),
}


class CompiledTemplate(Struct, frozen=True):
    """A template that was found harmless; `render` may be called many times."""

    file: str  # as problems name it
    template: Template
    reads: tuple[Place, ...] = ()

    def render(self, values: Mapping[str, Any]) -> str:
        """The template with `values` (plain data under `NAMES`) filled in.

        Raises:
            ManifestError: a value that is not set, a bound exceeded, a wrong type; names the file and line.
        """
        parts, size = [], 0
        try:
            for part in self.template.generate({**values, _BUDGET: _Budget()}):
                size += len(part)
                if size > MAX_TEXT:
                    raise Refusal(f"what it renders to is over {MAX_TEXT:,} characters")
                parts.append(part)
        except Exception as error:  # noqa: BLE001 a template's mistakes are its author's, whatever their type
            line = _line_of(error.__traceback__, self.file)
            raise ManifestError([_running(error, self.file, line)]) from None
        return "".join(parts)


def compile_template(file: str, text: str) -> CompiledTemplate:
    """Check and compile a template. `file` names it in problems; `*.json.j2` prints values as JSON only.

    Raises:
        ManifestError: everything in it that is not allowed, each with its line.
    """
    if len(text) > MAX_TEMPLATE:
        raise ManifestError([Problem(file, 0, 0, "", f"a template of over {MAX_TEMPLATE:,} characters")])
    try:
        tree = _ENVIRONMENT.parse(text)
        problems = [Problem(file, *found) for found in _Check(is_json=file.endswith(".json.j2")).of(tree)]
        if problems:
            raise ManifestError(problems)
        reads = places(tree, NAMES)
        _count_rounds(tree)
        code = _ENVIRONMENT.compile(tree, file, file)
    except ManifestError:
        raise
    except TemplateSyntaxError as error:
        raise ManifestError([Problem(file, error.lineno, 0, "", error.message or "syntax error")]) from None
    except (RecursionError, MemoryError):
        raise ManifestError([Problem(file, 0, 0, "", "nested too deeply")]) from None
    except Exception as error:  # noqa: BLE001 such as a number of a thousand digits
        raise ManifestError([Problem(file, 0, 0, "", f"cannot be compiled: {error}")]) from None
    return CompiledTemplate(file, Template.from_code(_ENVIRONMENT, code, {}), reads)


_Found = tuple[int, int, str, str, str]  # line, column (unknown: 0), path (none), what, hint


class _Check:
    """Walks a syntax tree and finds what is not allowed."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json

    def of(self, tree: nodes.Template) -> Iterator[_Found]:
        stored = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
        yield from self._walk(tree, {*NAMES, *stored, "loop"}, 0)

    def _walk(self, node: nodes.Node, known: set[str], loops: int) -> Iterator[_Found]:
        if type(node) not in _NODES:
            name = type(node).__name__.lower()
            what, hint = _WHY_NOT.get(type(node), (f"`{name}` is not for templates", "see docs/templates.md"))
            yield node.lineno, 0, "", what, hint
            return
        loops += isinstance(node, nodes.For)
        for what, hint in self._mistakes(node, known, loops):
            yield node.lineno, 0, "", what, hint
        for child in node.iter_child_nodes():
            yield from self._walk(child, known, loops)

    def _mistakes(self, node: nodes.Node, known: set[str], loops: int) -> Iterator[tuple[str, str]]:
        match node:
            case nodes.For() if loops > MAX_NESTING:
                yield f"loops are nested more than {MAX_NESTING} deep", "flatten the list in the manifest"
            case nodes.Name(name=name) if name.startswith("_"):
                yield f"`{name}`: names do not begin with an underscore", ""
            case nodes.Name(name=name) if name not in known:
                yield (
                    f"`{name}` is not known",
                    did_you_mean(name, NAMES) or f"templates know {', '.join(NAMES)}",
                )
            case nodes.Getattr(attr=attr) if attr.startswith("_"):
                yield f"`.{attr}`: a template reaches values, never attributes", ""
            case nodes.Filter(name=name) if name not in FILTERS:
                yield f"there is no filter `{name}`", did_you_mean(name, FILTERS) or "see docs/templates.md"
            case nodes.Test(name=name) if name not in _TESTS and name not in _COMPARISONS:
                yield f"there is no test `{name}`", did_you_mean(name, _TESTS) or "see docs/templates.md"
            case nodes.Output() if self.is_json and not all(map(_is_json_safe, node.nodes)):
                yield "a value goes into JSON as JSON only", "end the expression with `| tojson`"


_COMPARISONS = frozenset({"in", "eq", "ne"})


def _is_json_safe(node: nodes.Expr) -> bool:
    """True for the author's own text, and for values that cannot but be one JSON value."""
    match node:
        case nodes.TemplateData() | nodes.Const(value=str()) | nodes.Filter(name="tojson"):
            return True
        case nodes.CondExpr(expr1=first, expr2=second):
            return _is_json_safe(first) and (second is None or _is_json_safe(second))
    return False


def _count_rounds(tree: nodes.Template) -> None:
    """Make every loop draw its values through the budget."""
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _ROUNDS, [], [], None, None, lineno=loop.lineno)


class _Budget:
    """Rounds left for the loops of one rendering."""

    def __init__(self) -> None:
        self.left = MAX_ROUNDS

    def count(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.left -= 1
            if self.left < 0:
                raise Refusal(f"its loops take more than {MAX_ROUNDS:,} rounds")
            yield value


@pass_context
def _rounds(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    budget: _Budget = context[_BUDGET]
    return budget.count(values)


def _one_line(value: Any) -> Any:
    """What `{{ ... }}` prints: a number, or text on one line; never Python's own notation of a list."""
    if isinstance(value, dict | list | tuple | LoopContext) or value is None:
        raise Refusal("a list, a mapping or null has no text of its own", "add `| tojson`")
    if isinstance(value, str) and not isinstance(value, Json) and not value.isprintable():
        raise Refusal("the value holds a line break or another control character", "add `| tojson`")
    return value


class _NotSet(StrictUndefined):
    """A value that is not there. What to say about it is worked out only when it is said."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        keys = self._undefined_obj if isinstance(self._undefined_obj, Mapping) else ()
        close = did_you_mean(str(self._undefined_name), (key for key in keys if isinstance(key, str)))
        return f"`{self._undefined_name}` is not set" + (f"; {close}" if close else "")


class _Plain(ImmutableSandboxedEnvironment):
    """Jinja2 whose values have keys, never attributes, and whose operators take numbers, never texts."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=_NotSet,
            finalize=_one_line,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.globals.clear()
        self.filters = {**FILTERS, _ROUNDS: _rounds}
        self.tests = {name: test for name, test in self.tests.items() if name in _TESTS | _COMPARISONS}

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in _LOOP_FACTS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, str | list | tuple | Mapping):
            try:
                return obj[argument]
            except (KeyError, IndexError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, StrictUndefined):
                str(side)  # raises UndefinedError, which names it
            if isinstance(side, bool) or not isinstance(side, int | float):
                raise Refusal(f"`{operator}` takes numbers", "`~` joins texts")
        result = super().call_binop(context, operator, left, right)
        if not abs(result) < _MAX_NUMBER:
            raise Refusal(f"the result of `{operator}` is too large")
        return result


_ENVIRONMENT = _Plain()


def _running(error: Exception, file: str, line: int) -> Problem:
    if isinstance(error, Refusal):
        return Problem(file, line, 0, "", error.what, error.hint)
    if isinstance(error, UndefinedError):
        hint = "set it in the manifest, or give it a `| default(...)`"
        return Problem(file, line, 0, "", error.message or "something is not set", hint)
    return Problem(file, line, 0, "", str(error) or type(error).__name__)


def _line_of(trace: TracebackType | None, file: str) -> int:
    """The template's own line: Jinja2 rewrites tracebacks so that its frames carry the template's file."""
    line = 0
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
