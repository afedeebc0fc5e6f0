"""docs/security.md promises nothing that no test holds."""

import ast
import re
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "security.md").read_text("utf-8")
ACTORS = ("git writer", "CI", "controller", "network", "board", "model file", "template", "IoT hub")


def promises(actor: str) -> list[list[str]]:
    """For each promise about an actor, the tests that it names."""
    title = re.escape(actor[0].upper() + actor[1:])
    found = re.search(rf"^### {title}\n(.*?)^##", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"no chapter is about {actor}"
    rows = [line for line in found[1].splitlines() if line.startswith("| ") and "held by" not in line]
    return [re.findall(r"`(tests/[^`]+)`", row.rsplit(" | ", 1)[1]) for row in rows]


@cache
def names_in(file: str) -> frozenset[str]:
    """Names of the tests in a file."""
    tree = ast.parse((REPOSITORY / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_promise_has_a_test_that_exists() -> None:
    """Each row names at least one, and each that is named is there."""
    for actor in ACTORS:
        made = promises(actor)
        assert made, f"nothing is promised about {actor}"
        for named in made:
            assert named, f"a promise about {actor} names no test"
            for test in named:
                file, _, name = test.partition("::")
                assert (REPOSITORY / file).is_file(), test
                assert name in names_in(file), test


def test_everybody_of_the_threat_model_is_promised_about() -> None:
    """The table of who may do what, and the chapters of promises, are about the same."""
    table = TEXT.split("## Who is trusted with what")[1].split("\n\n")[1]
    listed = [line.split("|")[1].strip() for line in table.splitlines()[2:]]

    assert list(ACTORS) == listed
    assert set(re.findall(r"^### (.+)$", TEXT.split("## Promises")[1].split("\n## ")[0], re.MULTILINE)) == {
        actor[0].upper() + actor[1:] for actor in ACTORS
    }
