"""What a workflow was started for, by the files and variables that GitHub gives every step."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetctl.errors import UsageError

_ELSEWHERE = "this verb works in a step of a GitHub Actions workflow"


def event(environment: Mapping[str, str] = os.environ) -> Mapping[str, Any]:
    """The event that started the workflow.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    path = environment.get("GITHUB_EVENT_PATH", "")
    try:
        found = json.loads(Path(path).read_bytes()) if path else None
    except (OSError, ValueError) as error:
        raise UsageError(f"the event in {path} cannot be read: {error}", hint=_ELSEWHERE) from error
    if not isinstance(found, dict):
        raise UsageError("GITHUB_EVENT_PATH names no event", hint=_ELSEWHERE)
    return found


def pull_request(environment: Mapping[str, str] = os.environ) -> int:
    """The number of the pull request that the workflow is about.

    Raises:
        UsageError: it is about none.
    """
    said = event(environment).get("pull_request")
    number = said.get("number") if isinstance(said, dict) else None
    if not isinstance(number, int):
        raise UsageError("this workflow is not about a pull request", hint="give --number")
    return number


def run_address(environment: Mapping[str, str] = os.environ) -> str:
    """Where the log of this workflow is; empty elsewhere."""
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    server, repository, run = (environment.get(name, "") for name in names)
    return f"{server}/{repository}/actions/runs/{run}" if server and repository and run else ""
