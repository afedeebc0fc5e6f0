"""From a pull request to a proven fleet to an issue: every step of the workflows, run without GitHub.

The boards are the process lab's, the model is real and tiny. `fleetctl build` is played by the stages of
`quadrant_fleet`, which do not train; everything else is the command line that workflows call.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from base_images import FILES, little_wheelhouse, publish, rootfs
from github_stand_in import REPOSITORY, GitHubStandIn, standing_in
from long_matrices import takes
from quadrant_fleet import QuadrantFleet
from registry import running_registry
from workflow_runner import ELSEWHERE, FOLDER, ROOT, JobResult, Runner, all_steps, name_of, programs

from fleetctl import lockfile
from fleetctl.remotes.oci import OciRemote

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("workflows")]


@dataclass
class Team:
    """A team's repository, its boards, and GitHub as far as it takes part."""

    fleet: QuadrantFleet
    origin: Path
    runner: Runner
    github: GitHubStandIn

    def branch(self, name: str) -> None:
        self.fleet.git("checkout", "-q", "-B", name, "main")

    def push(self, name: str) -> None:
        self.fleet.git("push", "-q", "--force", "origin", name)

    def pull_request(self, name: str) -> dict[str, JobResult]:
        """Push a branch and open a pull request: GitHub makes the commit that merges it."""
        self.push(name)
        self.fleet.git("checkout", "-q", "--detach", "main")
        self.fleet.git("merge", "-q", "--no-ff", "--no-edit", name)
        self.fleet.git("push", "-q", "--force", "origin", "HEAD:refs/pull/7/merge")
        self.fleet.git("checkout", "-q", name)
        pull = {
            "number": 7,
            "base": {"sha": self.sha("main")},
            "head": {"repo": {"full_name": REPOSITORY}},
            "title": "`$(touch /tmp/owned)`",
        }
        return self.runner.run("plan", "pull_request", "refs/pull/7/merge", {"pull_request": pull})

    def merge(self, name: str) -> dict[str, JobResult]:
        self.fleet.git("checkout", "-q", "main")
        self.fleet.git("merge", "-q", "--no-ff", "--no-edit", name)
        before = self.sha("main")
        self.push("main")
        return self.runner.run("rollout", "push", "refs/heads/main", {"before": before})

    def dispatch(self) -> dict[str, JobResult]:
        """Start the workflow `rollout` by hand."""
        return self.runner.run("rollout", "workflow_dispatch", "refs/heads/main", {})

    def deployed(self) -> str:
        """What GitHub shows as deployed to the canary."""
        active = [each for each in self.github.deployments if each["statuses"][-1]["state"] == "success"]
        (found,) = (each["sha"] for each in active if each["environment"] == "canary")
        return str(found)

    def drift(self) -> dict[str, JobResult]:
        return self.runner.run("drift", "schedule", "refs/heads/main", {})

    def sha(self, name: str) -> str:
        argv = ["git", "-C", self.origin, "rev-parse", name]
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """Three virtual boards that run nothing yet, and a repository with our workflows in it."""
    fleet = QuadrantFleet.make(tmp_path / "fleet")
    for part in ("workflows", "actions"):
        shutil.copytree(ROOT / ".github" / part, fleet.root / ".github" / part)
    fleet.commit("Adopt the workflows")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", tmp_path / "origin"], check=True)
    fleet.git("remote", "add", "origin", str(tmp_path / "origin"))
    fleet.git("push", "-q", "origin", "main")
    with standing_in() as github:
        runner = Runner(
            origin=tmp_path / "origin",
            folder=tmp_path / "runs",
            state=fleet.root / ".fleetctl",
            github=github,
            programs=programs(tmp_path / "bin"),
            variables={"FLEETCTL_ARTIFACTS": str(tmp_path / "shared"), "FLEET_SELF_HEAL": "true"},
            environment={"FLEETCTL_TRANSPORT": "lab", "JITTER_S": "1"},
        )
        try:
            assert 0 == fleet.run("lab", "up").status
            assert 0 == fleet.run("artifacts", "push", str(tmp_path / "shared")).status
            yield Team(fleet, tmp_path / "origin", runner, github)
        finally:
            fleet.run("lab", "down")


def ok(jobs: dict[str, JobResult]) -> dict[str, JobResult]:
    assert not [job for job in jobs.values() if job.failed], "\n".join(job.log for job in jobs.values())
    return jobs


def loaded(team: Team) -> dict[str, Any]:
    return {name: (board["healthy"], board["commit"]) for name, board in team.fleet.boards().items()}


def test_the_pull_request_that_brings_the_workflows(team: Team) -> None:
    """Its base has no fleetctl to comment with: that is said, the summary has the plan, and nothing fails."""
    team.branch("adopt")
    team.fleet.git("branch", "-q", "--force", "main", "HEAD~1")
    team.push("main")
    planned = ok(team.pull_request("adopt"))

    assert [] == team.github.comments
    assert "no fleetctl to comment with yet: the summary of the job `plan`" in planned["comment"].summary
    assert planned["plan"].summary


def test_from_pull_request_to_proven_fleet_to_issue(team: Team) -> None:
    """Plan, refuse, build, merge, prove, drift, issue, heal, close; and no step was left out."""
    # A change of one value: the comment names the board and the value, and a second push replaces it.
    team.branch("surer")
    team.fleet.edit("threshold: 0.6", "threshold: 0.7")
    planned = ok(team.pull_request("surer"))
    ok(team.pull_request("surer"))
    assert 1 == len(team.github.comments)
    assert "threshold: 0.6 -> 0.7" in team.github.comments[0]["body"]
    assert "karnak-01" in planned["plan"].summary
    assert not Path("/tmp/owned").exists()

    # A gate that is lowered: the check fails, and the comment says why.
    team.branch("lax")
    team.fleet.edit("samples: 4,", "samples: 4, min_agreement: 0.5,")
    refused = team.pull_request("lax")
    assert refused["plan"].failed
    assert "`lower-gate`: quadrants: smoke.min_agreement" in team.github.comments[0]["body"]

    # A recipe that changed: a matrix builds it, and the lock is committed to the branch.
    team.branch("recipe")
    team.fleet.edit("samples: 4,", "samples: 3,")
    team.push("recipe")
    built = ok(team.runner.run("build", "push", "refs/heads/recipe", {}))
    assert ["changed", "build", "lock"] == [key for key, job in built.items() if not job.skipped]
    assert "Lock what was built" == _subject(team, "recipe")

    # Merged: the canary, then everybody, each board proved, receipts with the commit of main.
    rolled = ok(team.merge("surer"))
    assert {(True, team.sha("main"))} == set(loaded(team).values())
    assert "1 verified" in rolled["canary"].summary
    assert "2 verified" in rolled["fleet"].summary

    # Pushed past every pull request: what is dangerous reaches no board.
    team.fleet.git("checkout", "-q", "-B", "bold", "main")
    team.fleet.edit("samples: 4,", "samples: 4, min_agreement: 0.5,")
    bold = team.merge("bold")
    assert bold["fleet"].skipped
    assert "lower-gate: quadrants: smoke.min_agreement" in bold["canary"].log
    team.fleet.git("reset", "-q", "--hard", "HEAD^1")
    team.push("main")

    # All is well: no issue.
    assert ok(team.drift())["heal"].skipped
    assert [] == team.github.issues

    # Somebody edits a file on a board: an issue, and the pipeline puts it right.
    config = team.fleet.root / ".fleetctl/lab/boards/luxor-02/opt/fleetctl/current/config/serve.json"
    wanted = config.read_text()
    config.unlink()
    config.write_text(wanted.replace('"threads": 1', '"threads": 3'))
    last = team.runner.programs / "last-rollout"
    last.write_text("failure")  # a rollout that was stopped, or refused, is nothing that heals by itself
    assert ok(team.drift())["heal"].skipped
    last.write_text("success")
    # What was pushed without a rollout is not brought that way either: the boards are put right, and no more.
    team.fleet.git("checkout", "-q", "main")
    team.fleet.edit("threshold: 0.7", "threshold: 0.8")
    team.push("main")
    assert "Refuse what no rollout has brought: failure" in team.drift()["heal"].log
    team.fleet.git("reset", "-q", "--hard", "HEAD^")
    team.push("main")
    healed = ok(team.drift())
    assert ["open"] == [issue["state"] for issue in team.github.issues]
    assert "luxor-02" in team.github.issues[0]["body"]
    assert not healed["heal"].skipped
    assert wanted == config.read_text()
    ok(team.drift())
    assert ["closed"] == [issue["state"] for issue in team.github.issues]

    # Two runners with a board each and one with none share the wave behind the canary, and one gate speaks.
    # This is about jobs and what they hand over: simulated boards do.
    team.runner.environment = {**team.runner.environment, "FLEETCTL_TRANSPORT": "fake"}
    team.runner.variables = {**team.runner.variables, "FLEET_SHARDS": "[1, 2, 3]"}
    team.branch("split")
    team.fleet.edit("board: raspberrypi4}", "board: raspberrypi4, config: {threads: 2}}")
    split = ok(team.merge("split"))
    assert ["canary", "wave-2", "fleet"] == [key for key, job in split.items() if not job.skipped]
    assert "wave 2, shard 2/3" in split["wave-2"].summary
    assert "gate of wave 2: open: 2 boards verified" in split["wave-2"].log
    assert "nothing to do" in split["fleet"].log

    _nothing_left_out(team)


def test_what_was_refused_is_brought_by_nothing_behind_it(team: Team) -> None:
    """Not by a harmless push, nor by hand; the way out is a revert, the way on a reason."""
    # This is about what reaches a job at all: simulated boards do.
    team.runner.environment = {**team.runner.environment, "FLEETCTL_TRANSPORT": "fake"}
    entry = "rollout:\n  allow: {lower-gate: harder photos}\n"
    ok(team.dispatch())  # nothing was deployed yet: nothing to hold it against
    taken = team.sha("main")

    team.branch("bold")
    team.fleet.edit("samples: 4,", "samples: 4, min_agreement: 0.5,")
    assert team.merge("bold")["canary"].failed
    bold = team.sha("main")
    team.branch("harmless")
    team.fleet.edit("threshold: 0.6", "threshold: 0.7")
    for jobs in (team.merge("harmless"), team.dispatch()):
        assert jobs["canary"].failed
        assert jobs["fleet"].skipped
        assert (
            f"lower-gate: quadrants: smoke.min_agreement 0.98 -> 0.5 (since {bold[:12]})"
            in jobs["canary"].log
        )
    assert taken == team.deployed()

    # Taken back: what was harmless comes through. Done again with a reason: so does that, though its own run
    # was cancelled, and the entry is gone by the next.
    team.fleet.git("checkout", "-q", "main")
    team.fleet.git("revert", "--no-edit", "-m", "1", bold)
    team.push("main")
    ok(team.dispatch())
    assert team.sha("main") == team.deployed()
    team.branch("meant")
    team.fleet.edit("samples: 4,", "samples: 4, min_agreement: 0.5,")
    team.fleet.edit("rollout:\n", entry)
    ok(team.pull_request("meant"))
    team.fleet.git("checkout", "-q", "main")
    team.fleet.git("merge", "-q", "--no-ff", "--no-edit", "meant")
    team.push("main")
    team.branch("next")
    team.fleet.edit(entry, "rollout:\n")
    passed = ok(team.merge("next"))
    assert "harder photos" in passed["canary"].log
    assert team.sha("main") == team.deployed()


def test_the_first_board_over_a_hub_gets_a_signed_image(team: Team, tmp_path: Path) -> None:
    """No model changed and none is built: the image is made from the one that was published, and signed."""
    calls = tmp_path / "calls"
    cosign = team.runner.programs / "cosign"
    cosign.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n')
    cosign.chmod(0o755)
    little_wheelhouse(team.runner.state / "wheelhouse", ["aarch64"])
    with running_registry(tmp_path / "registry") as at:
        publish(OciRemote(f"oci://{at}/base"), "1", {"arm64": rootfs(FILES)})
        team.branch("hub")
        team.fleet.edit("karnak-01: {host: 192.0.2.3", "karnak-01: {via: iothub")
        hub = f'iothub: {{registry: {at}/team/fleet, base: "{at}/base:1"}}\n'
        team.fleet.edit("rollout:\n", f"{hub}rollout:\n")
        team.push("hub")
        built = ok(team.runner.run("build", "push", "refs/heads/hub", {}))
        (tmp_path / "fleet.lock").write_text(_file(team, "hub", "model_artifacts/fleet.lock"))
        image = lockfile.read(tmp_path / "fleet.lock").images["quadrants"]["int8"]["linux/arm64"]
        again = ok(team.runner.run("build", "workflow_dispatch", "refs/heads/hub", {}))

    assert ["changed", "lock"] == [key for key, job in built.items() if not job.skipped]
    assert "skipped" == _outcome(built["lock"], "Lock what was built")
    assert "success" == _outcome(built["lock"], "Make the images that are missing")
    assert f"sign --yes {at}/team/fleet@sha256:{image.digest}" in calls.read_text().splitlines()
    assert "Lock what was built" == _subject(team, "hub")
    assert ["changed"] == [key for key, job in again.items() if not job.skipped]


def test_a_model_that_did_not_change_is_fetched_and_not_built_again(team: Team) -> None:
    """The job that locks publishes all models of the lock, and has only those at hand that were built."""
    second = "  seconds: {task: classification, dataset: {kind: folder, path: photos}, variants: [int8]}\n"
    team.branch("second")
    team.fleet.edit("defaults: {model", f"{second}defaults: {{model")
    team.push("second")
    built = ok(team.runner.run("build", "push", "refs/heads/second", {}))

    assert "## Lock what was built: success\n['seconds']\n" in built["lock"].log
    assert {"seconds", "quadrants"} == set(
        json.loads(_file(team, "second", "model_artifacts/fleet.lock"))["models"]
    )


def _outcome(job: JobResult, name: str) -> str:
    (found,) = (step.outcome for step in job.steps if step.name == name)
    return found


def _file(team: Team, branch: str, path: str) -> str:
    argv = ["git", "-C", team.origin, "show", f"{branch}:{path}"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _subject(team: Team, branch: str) -> str:
    argv = ["git", "-C", team.origin, "log", "-1", "--format=%s", branch]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()


def _nothing_left_out(team: Team) -> None:
    """Every step was run or played, or is listed with the reason why it is run elsewhere."""
    files = [*FOLDER.glob("*.yml"), *(ROOT / ".github" / "actions").glob("*/action.yml")]
    named = {name_of(step) for path in files for step in all_steps(path) if "./" not in name_of(step)}
    ran = {name for _, name in team.runner.ran}

    assert set() == named - ran - set(ELSEWHERE)


@takes("minutes")
def test_a_rollout_that_fails_stops_and_is_taken_up_again(team: Team) -> None:
    """A bad model is refused by the canary: the second job never starts, and the next merge goes on."""
    ok(team.runner.run("rollout", "push", "refs/heads/main", {}))
    before = {name: board["loaded"] for name, board in team.fleet.boards().items()}
    team.branch("faster")
    team.fleet.mix_up_labels()
    subprocess.run(
        [sys.executable, "-m", "fleetctl", "artifacts", "push", team.runner.variables["FLEETCTL_ARTIFACTS"]],
        cwd=team.fleet.root,
        check=True,
        capture_output=True,
    )
    failed = team.merge("faster")
    assert failed["canary"].failed
    assert failed["fleet"].skipped
    assert "rolled back" in failed["canary"].summary
    assert before == {name: board["loaded"] for name, board in team.fleet.boards().items()}

    team.fleet.git("checkout", "-q", "main")
    team.fleet.git("revert", "--no-edit", "-m", "1", "HEAD")
    team.push("main")
    ok(team.runner.run("rollout", "push", "refs/heads/main", {}))
    assert {True} == {healthy for healthy, _ in loaded(team).values()}


@takes("minutes")
def test_a_gate_over_shards_takes_back_what_another_runner_proved(team: Team) -> None:
    """karnak-01 fails on one runner; luxor-02, proved on another, goes back, and nobody else is asked."""
    ok(team.runner.run("rollout", "push", "refs/heads/main", {}))
    before = {name: board["loaded"] for name, board in team.fleet.boards().items()}
    team.runner.variables = {**team.runner.variables, "FLEET_SHARDS": "[1, 2, 3]"}
    team.branch("strict")
    team.fleet.edit("board: raspberrypi4}", "board: raspberrypi4, config: {threads: 2}}")
    team.fleet.edit("karnak-01: {host", "karnak-01: {board: raspberrypi5, host")
    team.fleet.edit("{raspberrypi4: 2000}", "{raspberrypi4: 2000, raspberrypi5: 0.001}")
    failed = team.merge("strict")
    after = {name: board["loaded"] for name, board in team.fleet.boards().items()}

    assert failed["wave-2"].failed
    assert "luxor-02: verified" in failed["wave-2"].log
    assert "gate of wave 2: fail: 50 % verified, 95 % needed" in failed["wave-2"].log
    assert failed["fleet"].skipped
    assert [name for name in before if after[name] != before[name]] == ["luxor-01"]
