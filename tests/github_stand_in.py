"""GitHub's REST interface on loopback, as far as workflows use it: comments, issues, deployments, rights."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

REPOSITORY = "temples/unas"
TOKEN = "ghs_papyrus"


@dataclass
class GitHubStandIn:
    """What the repository holds; `writable`: the token may write; `busy`: so many answers are 503; `forgets`:
    so many are 502, to what was done all the same.
    """

    comments: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    writable: bool = True
    busy: int = 0
    forgets: int = 0
    asked: list[str] = field(default_factory=list)
    address: str = ""

    @Request.application
    def __call__(self, request: Request) -> Response:
        path = request.path.removeprefix(f"/repos/{REPOSITORY}")
        self.asked.append(f"{request.method} {path}")
        if self.busy:
            self.busy -= 1
            return Response("busy", 503)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return Response('{"message": "Bad credentials"}', 401)
        if request.method != "GET" and not self.writable:
            return Response('{"message": "Resource not accessible by integration"}', 403)
        answer = self._answer(request, path)
        if request.method == "POST" and self.forgets:
            self.forgets -= 1
            return Response("late", 502)
        return answer

    def _answer(self, request: Request, path: str) -> Response:
        import json

        said = request.get_json() if request.method != "GET" else {}
        if re.fullmatch(r"/issues/\d+/comments", path):
            where = int(path.split("/")[2])
            if request.method == "GET":
                found = [each for each in self.comments if each["on"] == where]
                return Response(json.dumps(_page(found, request)))
            return Response(json.dumps(self.add_comment(where, said["body"])), 201)
        if match := re.fullmatch(r"/issues/comments/(\d+)", path):
            comment = next(each for each in self.comments if each["id"] == int(match.group(1)))
            comment.update(said)
            return Response(json.dumps(comment))
        if path == "/issues" and request.method == "GET":
            found = [each for each in self.issues if each["state"] == request.args["state"]]
            return Response(json.dumps(_page(found, request)))
        if path == "/issues":
            return Response(json.dumps(self.add_issue(said["title"], said["body"])), 201)
        if match := re.fullmatch(r"/issues/(\d+)", path):
            issue = next(each for each in self.issues if each["number"] == int(match.group(1)))
            issue.update(said)
            return Response(json.dumps(issue))
        if path == "/deployments":
            found = [each for each in self.deployments if each["environment"] == request.args["environment"]]
            return Response(json.dumps(_page(found[::-1], request)))
        if match := re.fullmatch(r"/deployments/(\d+)/statuses", path):
            statuses = self.deployments[int(match.group(1)) - 1]["statuses"]
            return Response(json.dumps(_page(statuses[::-1], request)))
        return Response('{"message": "Not Found"}', 404)

    def add_comment(self, on: int, body: str, kind: str = "Bot") -> dict[str, Any]:
        made = {"id": len(self.comments) + 1, "on": on, "body": body, "user": {"type": kind}}
        made["html_url"] = f"https://github.example/{on}#{made['id']}"
        self.comments.append(made)
        return made

    def add_issue(self, title: str, body: str, kind: str = "Bot") -> dict[str, Any]:
        made = {"number": len(self.issues) + 1, "title": title, "body": body, "user": {"type": kind}}
        made |= {"state": "open", "html_url": f"https://github.example/issues/{made['number']}"}
        self.issues.append(made)
        return made

    def deploy(self, environment: str, sha: str) -> dict[str, Any]:
        """What GitHub makes of a job with an environment when it begins."""
        made = {"id": len(self.deployments) + 1, "environment": environment, "sha": sha}
        made["statuses"] = [{"state": "queued"}, {"state": "in_progress"}]
        self.deployments.append(made)
        return made

    def end(self, deployment: dict[str, Any], *, success: bool) -> None:
        """A success makes what was deployed to the environment before inactive; a failure leaves it."""
        deployment["statuses"].append({"state": "success" if success else "failure"})
        if success:
            for each in self.deployments:
                is_older = each["environment"] == deployment["environment"] and each is not deployment
                if is_older and each["statuses"][-1]["state"] == "success":
                    each["statuses"].append({"state": "inactive"})


def _page(found: list[dict[str, Any]], request: Request) -> list[dict[str, Any]]:
    size, page = int(request.args["per_page"]), int(request.args["page"])
    return found[size * (page - 1) : size * page]


@contextmanager
def standing_in() -> Iterator[GitHubStandIn]:
    made = GitHubStandIn()
    server = make_server("127.0.0.1", 0, made, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
