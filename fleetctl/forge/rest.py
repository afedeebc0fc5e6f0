"""GitHub's REST interface, as far as it is needed: comments of a pull request, issues, deployments.

What is ours is known by a mark in its text that Markdown does not show, and by who wrote it: a person who
writes the mark is not taken for us.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from fleetctl.errors import Refused, TransportError, UsageError

BODY_CHARACTERS = 65_000  # GitHub refuses more than 65,536
_PAGE = 100
_TRIES = 4
_DEPLOYMENTS = 200  # to one environment, that are asked how they ended; each is a request
_STATUSES = 300  # of one deployment; a job makes a handful
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}")
_KEY = re.compile(r"[a-z][a-z0-9-]{0,30}")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class GitHub:
    """One repository, spoken to with the token of a workflow."""

    def __init__(
        self, repository: str, token: str, api: str, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """`api` is the address of the interface, such as https://api.github.com."""
        if not _REPOSITORY.fullmatch(repository):
            raise UsageError(f"{repository!r} is not OWNER/REPOSITORY", hint="set GITHUB_REPOSITORY")
        self._base = f"{api.rstrip('/')}/repos/{repository}"
        self._token = token
        self._pause = pause

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> "GitHub":
        """As a step of a workflow is told.

        Raises:
            UsageError: there is no token, or no repository.
        """
        token = environment.get("GITHUB_TOKEN", "").strip()  # a secret that was pasted ends in a new line
        if not token:
            raise UsageError(
                "GITHUB_TOKEN is not set", hint="in the workflow: `env: {GITHUB_TOKEN: ${{ github.token }}}`"
            )
        api = environment.get("GITHUB_API_URL", "https://api.github.com")
        return cls(environment.get("GITHUB_REPOSITORY", ""), token, api)

    def comment(self, number: int, key: str, body: str) -> str:
        """Make or replace the one comment with this key on a pull request; returns its address."""
        text = f"{_mark(key)}\n{body}"[:BODY_CHARACTERS]
        place = f"/issues/{number}/comments"

        def ours() -> Mapping[str, Any] | None:
            return next((found for found in self._pages(place) if _is_ours(found, key)), None)

        if found := ours():
            return self._text("PATCH", f"/issues/comments/{found['id']}", {"body": text})
        return self._text("POST", place, {"body": text}, ours)

    def open_issue(self, key: str, title: str, body: str) -> str:
        """Make the one open issue with this key, or bring it up to date; returns its address."""
        said = {"title": title[:200], "body": f"{_mark(key)}\n{body}"[:BODY_CHARACTERS]}
        found = self._open(key)
        if found is not None:
            return self._text("PATCH", f"/issues/{found['number']}", said)
        return self._text("POST", "/issues", said, lambda: self._open(key))

    def close_issue(self, key: str, word: str) -> str:
        """Close the open issue with this key, with a last word; returns its address, if there was one."""
        found = self._open(key)
        if found is None:
            return ""
        self._text("POST", f"/issues/{found['number']}/comments", {"body": word})
        return self._text("PATCH", f"/issues/{found['number']}", {"state": "closed"})

    def deployed(self, environment: str) -> str:
        """The commit of the newest deployment to an environment that succeeded; empty where none ever did.

        Raises:
            UsageError: no environment has such a name.
            Refused: so many failed one after the other that the one before them is out of reach.
        """
        if not _ENVIRONMENT.fullmatch(environment):
            raise UsageError(
                f"{environment!r} is no environment",
                hint="letters, digits, `.`, `_` and `-`, such as `canary`",
            )
        made = self._pages("/deployments", environment=environment)  # the newest first
        for deployment in islice(made, _DEPLOYMENTS):
            if self._succeeded(deployment["id"]):
                return str(deployment["sha"])
        if next(made, None) is None:
            return ""
        raise Refused(
            f"none of the last {_DEPLOYMENTS} deployments to {environment} succeeded",
            hint="delete those that failed: `gh api --method DELETE repos/OWNER/REPOSITORY/deployments/ID`",
        )

    def _succeeded(self, deployment: int) -> bool:
        """Whether a deployment ever did: a later one to the same environment makes it `inactive`."""
        statuses = self._pages(f"/deployments/{deployment}/statuses")
        return any(status.get("state") == "success" for status in islice(statuses, _STATUSES))

    def _open(self, key: str) -> Mapping[str, Any] | None:
        issues = (each for each in self._pages("/issues", state="open") if "pull_request" not in each)
        return next((issue for issue in issues if _is_ours(issue, key)), None)

    def _pages(self, path: str, **query: str) -> Iterator[Mapping[str, Any]]:
        page = 1
        while True:
            found = self._ask("GET", path, params={**query, "per_page": str(_PAGE), "page": str(page)})
            yield from found
            if len(found) < _PAGE:
                return
            page += 1

    def _text(self, method: str, path: str, body: Mapping[str, Any], made: "Made | None" = None) -> str:
        return str(self._ask(method, path, made, json=dict(body)).get("html_url", ""))

    def _ask(self, method: str, path: str, made: "Made | None" = None, **more: Any) -> Any:
        """Ask, again where that may help; `made` finds what an unanswered request has made all the same."""
        import requests

        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {self._token}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        why = ""
        for attempt in range(_TRIES):
            if attempt:
                self._pause(2.0**attempt)
                if made and (found := made()):
                    return found
            try:
                reply = requests.request(method, self._base + path, headers=headers, timeout=30, **more)
            except requests.RequestException as error:
                why = type(error).__name__
                continue
            if reply.ok:
                return reply.json()
            why = f"{reply.status_code} {reply.reason}"
            if reply.status_code in (401, 403, 404) and "retry-after" not in reply.headers:
                raise Refused(
                    f"GitHub refuses {method} {path}: {why}",
                    hint="the job's `permissions` must allow it; a pull request from a fork never may write",
                )
            if reply.status_code < 500 and reply.status_code not in (403, 429):
                break
        raise TransportError(f"GitHub did not take {method} {path}: {why}", hint="run the job again")


Made = Callable[[], Mapping[str, Any] | None]


def _mark(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise UsageError(f"{key!r} is no key", hint="lower-case letters, digits and hyphens, such as `plan`")
    return f"<!-- fleetctl: {key} -->"


def _is_ours(found: Mapping[str, Any], key: str) -> bool:
    user = found.get("user")
    by_machine = isinstance(user, dict) and user.get("type") == "Bot"
    return by_machine and str(found.get("body") or "").startswith(_mark(key))
