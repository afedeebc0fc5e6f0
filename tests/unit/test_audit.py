"""The audit of the lock: fails for what is found, and says aloud when it could not ask."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = Path(__file__).resolve().parents[2] / ".ci" / "audit"
KNOWN = {"name": "jinja2", "version": "3.1.0", "vulns": []}
BAD = {**KNOWN, "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1.6"], "description": "", "aliases": []}]}
SKIPPED = {"name": "numpy", "skip_reason": "not found"}
NO_ROUTE = "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded"

CASES: dict[str, tuple[Any, str, str, int, str]] = {
    # what pip-audit prints, what it complains of, the exceptions; how the audit ends, and what it says
    "nothing is wrong": ([KNOWN], "", "", 0, "1 packages, 0 vulnerabilities"),
    "a vulnerability": ([KNOWN, BAD], "", "", 1, "jinja2 3.1.0: PYSEC-1, mended in 3.1.6"),
    "a known one": ([BAD], "", 'PYSEC-1 = "templates are ours"', 0, "1 excepted"),
    "an exception for nothing": ([KNOWN], "", 'PYSEC-1 = "x"', 1, "not needed any more"),
    "some cannot be asked about": ([KNOWN, SKIPPED], "", "", 0, "1 could not be asked about"),
    "the service knows nothing": ([SKIPPED], "", "", 0, "NOT DONE"),
    "there is no route": (None, NO_ROUTE, "", 0, "NOT DONE"),
    "the lock cannot be read": (None, "ERROR: requirement file contains garbage", "", 1, "contains garbage"),
    "pip-audit prints something else": ("no JSON", "", "", 1, "pip-audit failed"),
}


@pytest.mark.parametrize(("prints", "complains", "excepted", "status", "says"), CASES.values(), ids=CASES)
def test_the_audit(
    tmp_path: Path, prints: Any, complains: str, excepted: str, status: int, says: str
) -> None:
    """Each way that asking can end."""
    answer = "" if prints is None else json.dumps({"dependencies": prints})
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint({answer!r})\nsys.exit({complains!r} or 1)\n")
    program.chmod(0o755)
    exceptions = tmp_path / "advisories.toml"
    exceptions.write_text(f"[exceptions]\n{excepted}\n")
    argv = [sys.executable, str(AUDIT), str(program), "lock", str(exceptions)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, says in done.stdout + done.stderr) == (status, True), done


def test_the_exceptions_say_why() -> None:
    """No advisory is left alone without a reason."""
    import tomllib

    exceptions = tomllib.loads((AUDIT.parent / "advisories.toml").read_text())["exceptions"]

    assert all(isinstance(why, str) and len(why) > 20 for why in exceptions.values())
