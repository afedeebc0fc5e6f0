"""Programs that fleetctl starts do not inherit the key that signs."""

import ast
from pathlib import Path

import pytest

from fleetctl.children import environment

PACKAGE = Path(__file__).resolve().parents[2] / "fleetctl"
STARTS = {"run", "Popen", "create_subprocess_exec", "call", "check_call", "check_output"}


def test_all_but_the_key_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child finds what we found, and what is set for it."""
    monkeypatch.setenv("FLEETCTL_SIGNING_KEY", "a key")
    monkeypatch.setenv("FLEETCTL_SIGNING_PASSPHRASE", "a phrase")
    monkeypatch.setenv("HTTPS_PROXY", "http://192.0.2.1")
    found = environment(LC_ALL="C")

    assert not [name for name in found if "SIGNING" in name]
    assert (found["HTTPS_PROXY"], found["LC_ALL"]) == ("http://192.0.2.1", "C")


def starts(path: Path) -> list[ast.Call]:
    """Calls that start a program."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in STARTS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in ("subprocess", "asyncio")
        and not (call.func.value.id == "asyncio" and call.func.attr == "run")
    ]


def test_every_program_is_started_with_an_environment_of_its_own() -> None:
    """Nothing of the controller leaves its environment to chance; board code has no key to pass on."""
    modules = [path for path in PACKAGE.rglob("*.py") if "device" not in path.relative_to(PACKAGE).parts]
    found = {path: starts(path) for path in modules}
    careless = [
        f"{path.relative_to(PACKAGE)}:{call.lineno}"
        for path, calls in found.items()
        for call in calls
        if "env" not in {keyword.arg for keyword in call.keywords}
    ]

    assert sum(map(len, found.values())) > 5, "the search finds nothing anywhere"
    assert [] == careless
