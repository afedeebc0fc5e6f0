"""Runs our workflows without GitHub: every `run:` step in bash, in a clean clone, in order.

What GitHub gives a step is given: the event, the variables, files for summary, outputs and path, artifacts
between jobs, the token. A job with an environment is a deployment to it. Local actions are gone through step
by step. What is GitHub's alone is named in `ELSEWHERE` with the reason; a step in no list is an error.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from github_stand_in import REPOSITORY, TOKEN, GitHubStandIn
from step_outputs import outputs
from workflow_expressions import Expressions

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"

# By the name of a `run:` step, or the action of a `uses:` step: why no machine but GitHub's runs it.
ELSEWHERE = {
    "actions/setup-python": "brings a Python from GitHub's tool cache; the test has one",
    "actions/cache": "is GitHub's cache",
    "azure/login": "wants a token of GitHub's identity provider",
    "actions/attest-build-provenance": "wants a token of GitHub's identity provider, and Sigstore",
    "sigstore/cosign-installer": "downloads cosign; test_image_signing.py plays it",
    "pypa/gh-action-pypi-publish": "publishes to the package index",
    "Install fonts with hieroglyphs": "installs packages as root",
    "Install fleetctl": "installs from a package index; what is tested is on the path already",
    "Trust the keys of Google's apt repository": "downloads Google's keys",
    "Install the compiler": "installs from Google's apt repository",
    "Let git push as this workflow": "is GitHub's own client; the origin of the test asks for no password",
    "Lint, types, and the whole suite": "is what runs this test",
    "Ask what is known against the dependencies": "asks a service; test_audit.py has its answers",
    "Make the image of a board": "downloads Debian; `.ci/run` does the same",
    "Prove a release on it": "is part of the suite",
    "Build the wheel, and install it without the tree": "installs from an index; test_wheel.py does the rest",
    "Install the wheel alone": "installs from an index",
    "Test what is installed": "is part of the suite",
    "Begin a fleet with it": "wants the wheel of the step before; test_wheel.py does the same",
    "Demand that the tag is the version": "wants the tree of fleetctl and a tag",
    "Build the wheel": "wants the tree of fleetctl; test_wheel.py builds it",
}
_FLEETCTL = """\
#!{python}
# `fleetctl`, with a build that does not train.
import os
import sys
sys.path.insert(0, {tests!r})
if sys.argv[1:2] == ["build"] and not {{"--changed", "--check"}} & set(sys.argv):
    from pathlib import Path
    from quadrant_fleet import QuadrantStages
    from fleetctl.build.builder import build
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project
    from fleetctl.cli.build_images import bring_images
    fleet, project = load(Path("inventory/fleet.yaml")), Project(Path("inventory/fleet.yaml"))
    result = build(fleet, project, models=sys.argv[2:], stages=QuadrantStages())
    print([model.name for model in result.built])
    bring_images(fleet, project, [model.name for model in result.models], os.environ)
else:
    from fleetctl.cli import run
    run()
"""

_GH = """\
#!/bin/sh
# GitHub's own client, asked how the last rollout ended: the file beside it says.
echo "ended=$(cat "$(dirname "$0")/last-rollout")"
"""

PLAYED = ("actions/checkout", "actions/upload-artifact", "actions/download-artifact")


@dataclass
class StepResult:
    name: str
    outcome: str  # success, failure, skipped, elsewhere
    output: str = ""


@dataclass
class JobResult:
    steps: list[StepResult] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    skipped: bool = False

    @property
    def failed(self) -> bool:
        return any(step.outcome == "failure" for step in self.steps)

    @property
    def said(self) -> str:
        """Its `result`, as other jobs read it."""
        return "skipped" if self.skipped else "failure" if self.failed else "success"

    @property
    def log(self) -> str:
        return "\n".join(f"## {step.name}: {step.outcome}\n{step.output}" for step in self.steps)

    def ran(self) -> set[str]:
        return {step.name for step in self.steps if step.outcome in ("success", "failure")}


@dataclass
class Runner:
    """A machine that runs workflows for one repository.

    `state` is what a self-hosted runner keeps between jobs: `.fleetctl`, with the boards of the lab.
    """

    origin: Path
    folder: Path
    state: Path
    github: GitHubStandIn
    programs: Path  # in front of the path: how `fleetctl` is called
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    ran: set[tuple[str, str]] = field(default_factory=set)
    _count: int = 0

    def run(self, name: str, event_name: str, ref: str, event: Mapping[str, Any]) -> dict[str, JobResult]:
        """Run a workflow for an event on `ref` of the origin; jobs by name, in the order they ran."""
        sha = _git(self.origin, "rev-parse", ref)
        artifacts = self.workplace()
        artifacts.mkdir(parents=True)
        return _Run(self, name, self._github(event_name, ref, sha, event), artifacts).jobs()

    def _github(self, event_name: str, ref: str, sha: str, event: Mapping[str, Any]) -> dict[str, Any]:
        self._count += 1
        return {
            "event_name": event_name,
            "event": event,
            "ref": ref,
            "sha": sha,
            "repository": REPOSITORY,
            "actor": "ankh",
            "token": TOKEN,
            "run_id": str(self._count),
            "run_attempt": 1,
        }

    def workplace(self) -> Path:
        self._count += 1
        return self.folder / f"run-{self._count}"


class _Run:
    """One run of a workflow, or of one that it calls: `artifacts` is the place of those of the whole run."""

    def __init__(
        self,
        runner: Runner,
        name: str,
        github: dict[str, Any],
        artifacts: Path,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.runner = runner
        self.name = name
        self.workflow = yaml.safe_load((FOLDER / f"{name}.yml").read_text())
        self.github = github
        self.artifacts = artifacts
        self.inputs = inputs or {}

    def jobs(self) -> dict[str, JobResult]:
        done: dict[str, JobResult] = {}
        for key, job in self.workflow["jobs"].items():  # written in the order of their needs
            needs = job.get("needs", [])
            needs = [needs] if isinstance(needs, str) else needs
            contexts = self._contexts(
                {n: {"outputs": done[n].outputs, "result": done[n].said} for n in needs}
            )
            failed = any(done[n].failed or done[n].skipped for n in needs)
            if not Expressions(contexts, failed=failed).condition(job.get("if")):
                done[key] = JobResult(skipped=True)
                continue
            if "uses" in job:
                done[key] = self._call(job)
                continue
            matrix = self._matrix(job, contexts)
            for index, found in enumerate(matrix):
                strategy = {"job-index": index, "job-total": len(matrix)}
                each = _Job(self, key, job, {**contexts, "matrix": found, "strategy": strategy})
                result = self._deployed(each) if "environment" in job else each.run()
                done[key] = result if key not in done else _together(done[key], result)
        return done

    def _deployed(self, job: "_Job") -> JobResult:
        """A job with an environment: GitHub makes a deployment of it, which ends as the job does."""
        deployment = self.runner.github.deploy(job.job["environment"], self.github["sha"])
        result = job.run()
        self.runner.github.end(deployment, success=not result.failed)
        return result

    def _call(self, job: Mapping[str, Any]) -> JobResult:
        """A job that is another workflow: what its jobs did, as one, with the outputs it declares."""
        name = Path(job["uses"]).stem
        called = _Run(self.runner, name, self.github, self.artifacts, job.get("with"))
        jobs = called.jobs()
        whole = JobResult()
        for result in jobs.values():
            whole = _together(whole, result)
        declared = called.workflow[True]["workflow_call"].get("outputs", {})  # YAML 1.1: `on` is a boolean
        expressions = Expressions({"jobs": {key: {"outputs": each.outputs} for key, each in jobs.items()}})
        whole.outputs = {key: expressions.fill(output["value"]) for key, output in declared.items()}
        return whole

    def _contexts(self, needs: Mapping[str, Any]) -> dict[str, Any]:
        secrets = {"GITHUB_TOKEN": TOKEN, "FLEETCTL_SIGNING_KEY": ""}
        return {
            "github": self.github,
            "inputs": self.inputs,
            "vars": self.runner.variables,
            "secrets": secrets,
            "needs": needs,
            "runner": {"os": "Linux"},
        }

    def _matrix(self, job: dict[str, Any], contexts: Mapping[str, Any]) -> list[dict[str, Any]]:
        said = job.get("strategy", {}).get("matrix")
        if not said:
            return [{}]
        ((key, values),) = said.items()
        if isinstance(values, str):
            values = Expressions(contexts).value(values.removeprefix("${{").removesuffix("}}"))
        return list(values) if key == "include" else [{key: value} for value in values]


class _Job:
    """One job, in a folder of its own."""

    def __init__(self, run: _Run, key: str, job: dict[str, Any], contexts: dict[str, Any]) -> None:
        self.of, self.key, self.job, self.contexts = run, key, job, contexts
        self.place = run.runner.workplace()
        self.files = self.place.with_name(f"{self.place.name}-files")
        self.result = JobResult()
        self.steps: dict[str, Any] = {}
        self.path = [str(run.runner.programs)]

    def run(self) -> JobResult:
        self.place.mkdir(parents=True)
        self.files.mkdir()
        (self.files / "event.json").write_text(json.dumps(self.of.github["event"]))
        for name in ("summary.md", "outputs"):
            (self.files / name).touch()
        for step in self._all_steps():
            self._step(step)
        outputs = self.job.get("outputs", {})
        self.result.outputs = {name: self._expressions().fill(text) for name, text in outputs.items()}
        self.result.summary = (self.files / "summary.md").read_text()
        return self.result

    def _all_steps(self) -> Iterator[dict[str, Any]]:
        for step in self.job["steps"]:
            is_ours = step.get("uses", "").startswith("./")
            if is_ours and self._expressions().condition(step.get("if")):
                action = yaml.safe_load((self.place / step["uses"] / "action.yml").read_text())
                yield from action["runs"]["steps"]
            else:
                yield step

    def _step(self, step: dict[str, Any]) -> None:
        name = name_of(step)
        expressions = self._expressions()
        if not expressions.condition(step.get("if")):
            self._record(step, StepResult(name, "skipped"))
        elif name in ELSEWHERE:
            self._record(step, StepResult(name, "elsewhere"))
        elif "uses" in step:
            self._play(name, {k: expressions.fill(str(v)) for k, v in step.get("with", {}).items()})
            self._record(step, StepResult(name, "success"))
        else:
            self._record(step, self._shell(name, step))

    def _record(self, step: dict[str, Any], result: StepResult) -> None:
        self.of.runner.ran.add((self.of.name, result.name))
        if "id" in step:
            found = outputs((self.files / "outputs").read_text())
            self.steps[step["id"]] = {"outcome": result.outcome, "outputs": found}
        if step.get("continue-on-error") and result.outcome == "failure":
            result.outcome = "failure ignored"
        self.result.steps.append(result)

    def _shell(self, name: str, step: dict[str, Any]) -> StepResult:
        (self.files / "outputs").write_text("")
        (self.files / "path").write_text("")
        done = subprocess.run(
            [*shell_of(step), step["run"]],
            cwd=self.place,
            env=self._environment(step),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        self.path[:0] = (self.files / "path").read_text().split()
        return StepResult(name, "failure" if done.returncode else "success", done.stdout)

    def _environment(self, step: dict[str, Any]) -> dict[str, str]:
        github, expressions = self.of.github, self._expressions()
        said = {**self.of.workflow.get("env", {}), **self.job.get("env", {}), **step.get("env", {})}
        return {
            "PATH": os.pathsep.join([*self.path, os.environ["PATH"]]),
            "HOME": str(self.files),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTOR": github["actor"],
            "GITHUB_API_URL": self.of.runner.github.address,
            "GITHUB_EVENT_NAME": github["event_name"],
            "GITHUB_EVENT_PATH": str(self.files / "event.json"),
            "GITHUB_OUTPUT": str(self.files / "outputs"),
            "GITHUB_PATH": str(self.files / "path"),
            "GITHUB_REF": github["ref"],
            "GITHUB_REPOSITORY": github["repository"],
            "GITHUB_RUN_ID": github["run_id"],
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_SHA": github["sha"],
            "GITHUB_STEP_SUMMARY": str(self.files / "summary.md"),
            "GITHUB_WORKSPACE": str(self.place),
            **self.of.runner.environment,
            **{name: expressions.fill(str(value)) for name, value in said.items()},
        }

    def _expressions(self) -> Expressions:
        return Expressions({**self.contexts, "steps": self.steps}, failed=self.result.failed)

    def _play(self, action: str, given: Mapping[str, str]) -> None:
        match action:
            case "actions/checkout":
                self._check_out(given.get("ref") or self.of.github["sha"])
            case "actions/upload-artifact":
                self._upload(given["name"], given["path"].split())
            case "actions/download-artifact":
                self._download(given)
            case _:
                raise AssertionError(f"{action} is neither played nor listed as run elsewhere")

    def _check_out(self, ref: str) -> None:
        subprocess.run(["git", "clone", "-q", self.of.runner.origin, self.place], check=True)
        _git(self.place, "fetch", "-q", "origin", "+refs/pull/*:refs/remotes/pull/*")
        _git(self.place, "checkout", "-q", "--detach", ref)
        (self.place / ".fleetctl").symlink_to(self.of.runner.state)

    def _upload(self, name: str, paths: list[str]) -> None:
        for path in paths:
            source, target = self.place / path, self.of.artifacts / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            elif source.exists():
                shutil.copy(source, target)

    def _download(self, given: Mapping[str, str]) -> None:
        """One artifact by its name; of many each into a folder of its own, unless they are to be merged."""
        target = self.place / given.get("path", ".")
        merged = "name" in given or given.get("merge-multiple") == "True"
        for found in sorted(self.of.artifacts.glob(given.get("name") or given["pattern"])):
            shutil.copytree(found, target if merged else target / found.name, dirs_exist_ok=True)


def programs(folder: Path) -> Path:
    """A folder for the path: `fleetctl` as it is, but for a build that does not train."""
    folder.mkdir()
    program = folder / "fleetctl"
    program.write_text(_FLEETCTL.format(python=sys.executable, tests=str(ROOT / "tests")))
    program.chmod(0o755)
    client = folder / "gh"
    client.write_text(_GH)
    client.chmod(0o755)
    (folder / "last-rollout").write_text("success")
    return folder


def name_of(step: Mapping[str, Any]) -> str:
    """What a step is known by: its action, or its name."""
    return str(step["uses"]).partition("@")[0] if "uses" in step else str(step["name"])


def shell_of(step: Mapping[str, Any]) -> list[str]:
    """How GitHub runs a script: with pipefail only where the step names bash as its shell."""
    strict = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
    return ["bash", *strict, "-c"]


def all_steps(path: Path) -> Iterator[dict[str, Any]]:
    """Every step of a workflow or of a local action."""
    document = yaml.safe_load(path.read_text())
    jobs = document["jobs"].values() if "jobs" in document else [document["runs"]]
    for job in jobs:
        yield from job.get("steps", [])  # one that calls another workflow has none of its own


def _together(one: JobResult, other: JobResult) -> JobResult:
    return JobResult(one.steps + other.steps, other.outputs, one.summary + other.summary)


def _git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", where, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
