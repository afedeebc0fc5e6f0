"""An installation without an extra: the verbs that need it say which."""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from fleetctl.errors import ToolchainMissing
from fleetctl.report.problems import EXTRAS, lacking

# Python imports a module of this name, if there is one, before anything else.
WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{0}":
            raise ModuleNotFoundError("No module named {0!r}", name=name)
sys.meta_path.insert(0, Without())
"""


def run_without(package: str, line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """A command line where a package is not installed."""
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    (aside / "sitecustomize.py").write_text(WITHOUT.format(package))
    return subprocess.run(
        [sys.executable, "-m", "fleetctl", *line.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(aside)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_lab_says_what_it_lacks(tmp_path: Path) -> None:
    """The first command of the tutorial is no fault of fleetctl where the extra was left out."""
    assert 0 == run_without("asyncssh", "init .", tmp_path).returncode
    done = run_without("asyncssh", "lab up", tmp_path)

    assert 22 == done.returncode
    assert "error: asyncssh is not installed\nhint: pip install 'fleetctl[lab]'\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_modules_are_faults_of_ours() -> None:
    """One that no extra brings is missing where fleetctl itself is wrong."""
    missing = ModuleNotFoundError("No module named 'azure.iot'", name="azure.iot.hub")

    told = lacking(missing)
    assert isinstance(told, ToolchainMissing)
    assert "pip install 'fleetctl[iothub]'" == told.hint
    assert lacking(ModuleNotFoundError("No module named 'fleetctl.x'", name="fleetctl.x")) is None
    assert lacking(ImportError("cannot import name")) is None


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_brings_what_it_is_said_to(extra: str) -> None:
    """Each module is of a distribution that the extra names."""
    named = [line for line in requires("fleetctl") or () if f"extra == '{extra}'" in line]
    brought = {re.split(r"[^A-Za-z0-9.-]", line.replace("_", "-"))[0].lower() for line in named}
    of = packages_distributions()
    for module in EXTRAS[extra]:
        holders = {name.replace("_", "-").lower() for name in of.get(module, ())}

        assert not holders or holders & brought, module
