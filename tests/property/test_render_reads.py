"""Renderings that are remembered: the text is always the one that rendering again would give."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetctl.errors import ManifestError
from fleetctl.render.reads import Remembered
from fleetctl.render.sandbox import CompiledTemplate, compile_template

# What is equal and prints differently is drawn on purpose.
alike = st.sampled_from(
    [1, 1.0, True, "1", 0, -0.0, False, "", None, "None", [1], [True], {"a": 1}, {"a": 1.0}]
)
configs = st.dictionaries(st.sampled_from(["a", "b", "c"]), alike, max_size=3)
values = st.builds(
    lambda root, config, labels: {"board": {"root": root}, "config": config, "labels": labels, "model": {}},
    alike,
    configs,
    configs,
)
PIECES = [
    "{{ board.root | tojson }}",
    "{{ config.a | default(7) | tojson }}",
    "{{ config['b'] is defined }}",
    "{{ config | tojson }}",
    "{% for key in labels %}{{ key }}={{ labels[key] | tojson }} {% endfor %}",
    "{% for config in labels %}{{ config }} {% endfor %}",
    "{% if config.a == labels.a %}same{% else %}other{% endif %}",
    "{{ 'c' in config }}",
    "{{ config[board.root] | tojson if board.root in config }}",
]


def said(render: Any, value: Any) -> str:
    try:
        return str(render(value))
    except ManifestError as error:
        return str(error.problems)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), st.lists(values, min_size=2, max_size=6))
def test_what_is_remembered_is_what_would_be_rendered(pieces: list[str], fleet: list[Any]) -> None:
    """Whatever a template reads, and however alike the boards are."""
    template = compile_template("t.j2", "".join(pieces))
    remembered = Remembered(template.render, template.reads)

    assert [said(template.render, each) for each in fleet * 2] == [
        said(remembered, each) for each in fleet * 2
    ]


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("{{ board.root }} {{ board.root ~ config['x'] }}", (("board", "root"), ("config", "x"))),
        ("{{ config | tojson }} {{ config.x }}", (("config",),)),
        ("{% for x in labels %}{{ x.y }}{% endfor %}", (("labels",),)),
        ("{{ config[board.name] }}", (("board", "name"), ("config",))),
        ("nothing", ()),
    ],
)
def test_a_template_s_reads_are_told_from_its_text(text: str, reads: tuple[tuple[str, ...], ...]) -> None:
    """Where the key is worked out as it runs, the whole mapping counts."""
    assert reads == compile_template("t.j2", text).reads


def test_boards_that_are_alike_are_rendered_once() -> None:
    """A unit file that a thousand boards share costs one rendering; one that names its board, a thousand."""
    calls: list[str] = []

    def counted(text: str) -> tuple[CompiledTemplate, Any]:
        template = compile_template("t.j2", text)

        def render(value: Any) -> str:
            calls.append(text)
            return template.render(value)

        return template, Remembered(render, template.reads)

    boards = [{"board": {"name": f"b{n}", "root": "/opt"}, "config": {}} for n in range(3)]
    for text in ("{{ board.root }}", "{{ board.name }}"):
        template, remembered = counted(text)
        assert [template.render(each) for each in boards] == [remembered(each) for each in boards]

    assert [1, 3] == [calls.count(text) for text in ("{{ board.root }}", "{{ board.name }}")]
