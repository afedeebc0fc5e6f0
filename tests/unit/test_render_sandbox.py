"""What templates may do, and how they are told what they may not: tests/cases/templates/hostile.yaml."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetctl.errors import ManifestError
from fleetctl.render.sandbox import MAX_TEMPLATE, compile_template

HOSTILE = yaml.safe_load((Path(__file__).parents[1] / "cases/templates/hostile.yaml").read_text())

VALUES: dict[str, Any] = {
    "board": {"name": "luxor-01", "kind": "raspberrypi4", "groups": ["pi"], "accelerator": "none"},
    "model": {"name": "reader", "variant": "int8"},
    "labels": {"site": "luxor"},
    "config": {
        "threshold": 0.5,
        "cameras": ["north", "south"],
        "many": list(range(1000)),
        "long": "x" * 1000,
        "lines": "one\ntwo",
        "escape": "\x1b[2J",
        "infinite": float("inf"),
        "quoted": 'say "ḥtp"',
    },
}


def render(template: str, name: str = "x.j2") -> str:
    return compile_template(name, template).render(VALUES)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["template"][:60])
def test_hostile_templates_are_refused_with_their_place(case: dict[str, str]) -> None:
    """The first problem says the line, what is wrong, and what to do."""
    with pytest.raises(ManifestError) as refused:
        render(case["template"])

    assert str(refused.value.problems[0]).startswith(case["says"])


@pytest.mark.parametrize(
    "template",
    ["{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ 1" + "+1" * 20000 + " }}", "{% if 1 %}" * 5000],
    ids=["parentheses", "a long sum", "open blocks"],
)
def test_deep_nesting_is_refused(template: str) -> None:
    """Neither the parser nor the compiler runs out of stack on a template."""
    with pytest.raises(ManifestError, match="1 problem"):
        render(template)


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    """It does not even reach the syntax tree."""
    with pytest.raises(ManifestError) as refused:
        render("{{ 1" + "0" * 5000 + " }}")

    assert "cannot be compiled: Exceeds the limit" in str(refused.value.problems[0])


def test_a_long_template_is_refused() -> None:
    """Before it is parsed."""
    with pytest.raises(ManifestError) as refused:
        render("x" * (MAX_TEMPLATE + 1))

    assert str(refused.value.problems[0]) == "x.j2: a template of over 65,536 characters"


def test_refusing_a_loop_takes_no_time() -> None:
    """A million rounds are never begun."""
    began = time.perf_counter()
    with pytest.raises(ManifestError):
        render("{% for a in config.many %}{% for b in config.many %}{{ a * b }}{% endfor %}{% endfor %}")

    assert time.perf_counter() - began < 2.0


def test_every_problem_of_a_template_is_told_at_once() -> None:
    """Nobody fixes one line to be told of the next."""
    with pytest.raises(ManifestError) as refused:
        render("{{ borad }}\n{% include 'x' %}\n{{ f() }}\n")

    assert [problem.line for problem in refused.value.problems] == [1, 2, 3]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ board.name }} {{ labels.site | upper }}", "luxor-01 LUXOR"),
        ("{{ config['threshold'] * 2 + 1 }}", "2.0"),
        (
            "{% for c in config.cameras %}{{ loop.index }}{{ c }}{{ ',' if not loop.last }}{% endfor %}",
            "1north,2south",
        ),
        ("{% for k, v in labels | items %}{{ k }}={{ v }}{% else %}none{% endfor %}", "site=luxor"),
        ("{{ config.zzz | default(7) }}{{ '' | d('x', true) }}", "7x"),
        ("{% if config.zzz is defined %}a{% elif 'pi' in board.groups %}b{% else %}c{% endif %}", "b"),
        (
            "{{ config.cameras | join('+') }} {{ config.cameras | length }} {{ config.cameras | last }}",
            "north+south 2 south",
        ),
        ("{{ config.quoted | tojson }}", r'"say \"ḥtp\""'),
        ("{{ {'b': 1, 'a': [true, none]} | tojson }}", '{"a": [true, null], "b": 1}'),
        ("{{ config.lines | tojson }}", r'"one\ntwo"'),
        ("{{ '7' | int + 1 }} {{ 2.345 | round(1) }} {{ ' a ' | trim }}", "8 2.3 a"),
        ("{% raw %}{{ x }}{% endraw %}{# a comment #}", "{{ x }}"),
    ],
)
def test_ordinary_templates_render(template: str, text: str) -> None:
    """What configuration files need is there."""
    assert render(template) == text


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("/opt/my fleet", '"/opt/my fleet"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('a"b', '"a\\"b"'),
        ("it's", '"it\'s"'),
        ("a;b", '"a;b"'),
        ("", '""'),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_unit_words_mean_themselves(value: str, word: str) -> None:
    """systemd reads the word back as the value, whatever is in it."""
    assert compile_template("x.j2", "{{ config.v | unit_word }}").render({"config": {"v": value}}) == word


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ('{"a": {{ config.threshold | tojson }}}', '{"a": 0.5}'),
        (
            '[{% for c in config.cameras %}{{ c | tojson }}{{ "," if not loop.last }}{% endfor %}]',
            '["north","south"]',
        ),
        ('{"a": {{ (1 if config.threshold else 2) | tojson }}}', '{"a": 1}'),
    ],
)
def test_values_go_into_json_as_json(template: str, rendered: str) -> None:
    """An expression may be any that ends in `tojson`; what is between values is the template's own."""
    assert rendered == render(template, "x.json.j2")


@pytest.mark.parametrize(
    "template",
    [
        '{"a": {{ config.threshold }}}',
        '{"a": "{{ board.name }}"}',
        '{"a": {{ 1 | tojson if config.threshold else config.quoted }}}',
    ],
)
def test_no_value_goes_into_json_as_text(template: str) -> None:
    """In a `*.json.j2` no value can end its own string and begin another key."""
    with pytest.raises(ManifestError) as refused:
        render(template, "x.json.j2")

    assert str(refused.value.problems[0]) == (
        "x.json.j2:1: a value goes into JSON as JSON only; end the expression with `| tojson`"
    )
