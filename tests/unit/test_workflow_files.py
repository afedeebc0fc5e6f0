"""What holds for every workflow, without running one: rights, pins, time-outs, and no way into a shell."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from workflow_expressions import Expressions
from workflow_runner import ELSEWHERE, FOLDER, PLAYED, ROOT, all_steps, name_of, shell_of

WORKFLOWS = sorted(FOLDER.glob("*.yml"))
ACTIONS = sorted((ROOT / ".github" / "actions").glob("*/action.yml"))
EVERY = [*WORKFLOWS, *ACTIONS]

each_file = pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parent.name}/{path.name}")
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


@each_file
def test_no_expression_reaches_a_shell(path: Path) -> None:
    """What a branch, a title or a matrix says comes into a step by its environment, never by its text."""
    assert [] == [name_of(step) for step in all_steps(path) if "${{" in step.get("run", "")]


@each_file
def test_every_action_is_pinned_by_commit(path: Path) -> None:
    """A tag can be moved to other code; a commit cannot. The version stands beside it for people."""
    lines = [line for line in path.read_text().splitlines() if "uses:" in line and "uses: ./" not in line]

    assert [] == [line for line in lines if not re.search(r"uses: \S+@[0-9a-f]{40} # v\d+\.\d+", line)]


@each_workflow
def test_a_job_has_the_rights_it_names_and_an_end(path: Path) -> None:
    """No right by default, time-outs everywhere, and no two runs that get into each other's way.

    A job that calls another workflow ends when that one's jobs do.
    """
    document = yaml.safe_load(path.read_text())
    ours = [job for job in document["jobs"].values() if "uses" not in job]

    assert {} == document["permissions"]
    assert document["concurrency"]["group"]
    assert all(job["permissions"] for job in document["jobs"].values())
    assert all(job["timeout-minutes"] <= 180 for job in ours)


@each_workflow
def test_the_code_of_a_pull_request_gets_no_secret(path: Path) -> None:
    """`pull_request_target` runs with the base's rights, and is nowhere; `pull_request` reads no secret."""
    text = path.read_text()
    triggers = yaml.safe_load(text)[True]  # YAML 1.1 takes `on` for a boolean

    assert "pull_request_target" not in triggers
    assert "pull_request" not in triggers or "secrets." not in text


def test_code_of_a_pull_request_never_runs_with_a_right_to_write() -> None:
    """In plan.yml the job that may comment checks out the base, and only it may write."""
    found = jobs(FOLDER / "plan.yml")
    writers = [
        key for key, job in found.items() if "write" in job["permissions"].values() or job.get("secrets")
    ]
    steps = {name_of(step): step for step in found["comment"]["steps"]}
    checkout, handed_over = steps["actions/checkout"], steps["actions/download-artifact"]

    assert ["comment"] == writers
    assert "plan" == handed_over["with"]["path"]  # not over the base's code: it may hold any file
    assert "${{ github.event.pull_request.base.sha }}" == checkout["with"]["ref"]


def test_a_rollout_is_never_cut_off_by_the_next() -> None:
    """Two merges in a second: the second waits, and holds all of both."""
    for name in ("rollout", "drift"):
        assert (
            yaml.safe_load((FOLDER / f"{name}.yml").read_text())["concurrency"]["cancel-in-progress"] is False
        )
    heal = jobs(FOLDER / "drift.yml")["heal"]
    # It holds that group, and the hourly look, as long as it waits: so it must wait for nobody's approval.
    assert ("rollout", "gate") == (heal["concurrency"]["group"], heal["environment"])


def test_nothing_is_healed_that_no_rollout_brought() -> None:
    """A rollout refuses unsigned images and dangerous pushes: what it stopped has no other way in."""
    found = jobs(FOLDER / "drift.yml")
    (asking,) = (step for step in found["drift"]["steps"] if step.get("id") == "last")

    assert "needs.drift.outputs.rolled-out == 'true'" in found["heal"]["if"]
    assert "--workflow rollout.yml --branch main --limit 1" in asking["run"]
    assert "${{ steps.last.outputs.ended == 'success' }}" == found["drift"]["outputs"]["rolled-out"]


@pytest.mark.parametrize(("said", "heals"), [("true", True), ("false", False), (None, False)])
def test_what_could_not_be_looked_at_is_not_healed(said: str | None, *, heals: bool) -> None:
    """A hub that is down, or a key that ran out, fails `drift` without a word of a difference."""
    found = jobs(FOLDER / "drift.yml")
    outputs = {"drift": {"outcome": "failure", "outputs": {"differs": said} if said else {}}}
    differs = Expressions({"steps": outputs}).fill(found["drift"]["outputs"]["differs"])
    needs = {"drift": {"outputs": {"differs": differs, "rolled-out": "true"}}}

    assert heals is Expressions({"needs": needs}).condition(found["heal"]["if"])


def step_of(workflow: str, job: str, name: str) -> dict[str, Any]:
    (found,) = (step for step in jobs(FOLDER / f"{workflow}.yml")[job]["steps"] if step.get("name") == name)
    return found


@pytest.mark.parametrize(
    ("taken", "event", "base"),
    [
        ("c0ffee", {"before": "abad1dea"}, "c0ffee"),
        ("c0ffee", {}, "c0ffee"),
        ("", {"before": "abad1dea", "created": False}, "abad1dea"),
        ("", {"before": "0" * 40, "created": True}, None),
        ("", {}, None),
    ],
)
def test_since_when_a_rollout_is_judged(taken: str, event: dict[str, Any], base: str | None) -> None:
    """Since what the canary took last, whoever starts it; before there was any, since the push."""
    check = step_of("rollout", "canary", "Refuse what is dangerous and came past a pull request")
    said = Expressions({"steps": {"taken": {"outputs": {"commit": taken}}}, "github": {"event": event}})

    assert (base is not None) is said.condition(check["if"])
    assert base is None or base == said.fill(check["env"]["BASE"])
    assert "--commit-by-commit" in check["run"]


def test_the_canary_is_the_first_wave_whatever_it_is_called() -> None:
    """A fleet need not have a group `canary`, nor begin with it; and the gate speaks over a proof."""
    proving, judging = (
        step_of("rollout", "canary", n) for n in ("Roll out to the canary", "Judge the canary")
    )

    assert "--on" not in (FOLDER / "rollout.yml").read_text()
    assert proving["run"].endswith("--wave 1 --shard 1/1 --result canary/shard.json")
    assert judging["run"].endswith("--wave 1 --join canary")
    assert proving["continue-on-error"] is True
    assert "continue-on-error" not in judging


@pytest.mark.parametrize(
    ("waves", "canary", "shards", "next_wave", "split"),
    [
        ("2", True, "[1, 2]", "2", True),
        ("2", True, "", "2", False),
        ("1", False, "[1, 2]", "", False),  # everybody waits for an approval
        ("", True, "", "", False),  # nobody could count: the rollout says why
    ],
)
def test_who_goes_before_an_approval(
    waves: str, canary: bool, shards: str, next_wave: str, split: bool
) -> None:
    """The first of several waves; behind it, the second is split where it is to be and where there is one."""
    steps = Expressions({"steps": {"waves": {"outputs": {"count": waves}}}})
    needs = {"canary": {"outputs": {"next": next_wave}}}
    found = jobs(FOLDER / "rollout.yml")

    for name in ("Roll out to the canary", "Judge the canary"):
        assert canary is steps.condition(step_of("rollout", "canary", name)["if"])
    assert split is Expressions({"needs": needs, "vars": {"FLEET_SHARDS": shards}}).condition(
        found["wave-2"]["if"]
    )
    assert "${{ steps.gate.outputs.next }}" == found["canary"]["outputs"]["next"]


def test_what_no_rollout_took_is_not_healed() -> None:
    """A push that started no rollout differs from what the canary took last, and ends the job at once."""
    names = [step.get("name") for step in jobs(FOLDER / "drift.yml")["heal"]["steps"]]
    check = step_of("drift", "heal", "Refuse what no rollout has brought")

    assert (check["run"], check["env"]) == (
        'fleetctl plan --base "$BASE"',
        {"BASE": "${{ steps.taken.outputs.commit }}"},
    )
    assert names.index(check["name"]) < names.index("Put boards right")


def test_every_job_that_asks_boards_signs_in_to_azure() -> None:
    """A board via IoT Hub is asked through the hub: each job with a verb for boards can get in there."""
    verb = re.compile(r"fleetctl (rollout|status|drift)\b")
    asking = [
        (path.stem, key, job)
        for path in WORKFLOWS
        for key, job in jobs(path).items()
        if any(verb.match(step.get("run", "")) for step in job.get("steps", []))
    ]

    assert {"canary", "fleet", "shard", "gate", "drift", "heal"} == {key for _, key, _ in asking}
    for _, key, job in asking:
        assert "azure/login" in [name_of(step) for step in job["steps"] if "uses" in step], key
        assert "write" == job["permissions"]["id-token"], key


def test_azure_is_signed_in_to_right_before_boards_are_asked() -> None:
    """What GitHub vouches with ends after five minutes, and the first word with a hub wants it: models are
    fetched before that."""
    verb = re.compile(r"fleetctl (rollout|status|drift)\b")
    for path in WORKFLOWS:
        for key, job in jobs(path).items():
            for step, following in pairwise(job.get("steps", [])):
                if name_of(step) == "azure/login":
                    assert verb.match(following.get("run", "")), f"{path.stem}: {key}"


@each_file
def test_a_pipe_fails_where_any_part_of_it_does(path: Path) -> None:
    """GitHub runs a step with `bash -e` alone; one that names bash as its shell gets pipefail, too."""
    pipe = re.compile(r"(?<!\|)\|(?!\|)")
    quoted = re.compile(r"'[^']*'")
    piping = [step for step in all_steps(path) if pipe.search(quoted.sub("", step.get("run", "")))]

    assert [] == [name_of(step) for step in piping if step.get("shell") != "bash"]


def test_nobody_counts_the_waves_of_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    """Taken for a fleet of several waves, one of a single wave would be rolled out to before its approval."""
    step = step_of("rollout", "canary", "Count the waves")
    program = tmp_path / "fleetctl"
    program.write_text("#!/bin/sh\nexit 70\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "GITHUB_OUTPUT": str(tmp_path / "outputs")}
    argv = shell_of(step)

    assert 0 != subprocess.run([*argv, step["run"]], env=environment, check=False).returncode


def test_a_check_that_must_pass_runs_for_every_pull_request() -> None:
    """One that leaves paths out would never report for the others, and nobody could merge them."""
    triggers = yaml.safe_load((FOLDER / "plan.yml").read_text())[True]

    assert not (triggers["pull_request"] or {}).keys() & {"paths", "paths-ignore", "branches"}


def test_nothing_is_published_that_was_not_tried() -> None:
    """The wheel goes out once every Python it is for has begun a fleet with it."""
    found = jobs(FOLDER / "release.yml")
    (tested,) = jobs(FOLDER / "ci.yml")["wheel"]["strategy"]["matrix"].values()

    assert "try" in found["publish"]["needs"]
    assert [tested] == list(found["try"]["strategy"]["matrix"].values())


def test_a_gate_that_stayed_shut_ends_the_way() -> None:
    """Each wave, and everybody in the end, waits for the word of the gate before it, and for nothing less."""
    found = jobs(FOLDER / "rollout.yml")
    waves = [key for key in found if key.startswith("wave-")]

    assert ["wave-2", "wave-3", "wave-4"] == waves
    for before, after in pairwise(waves):
        assert f"needs.{before}.outputs.open == 'true'" in found[after]["if"]
    for wave in waves:
        said = f"(needs.{wave}.result == 'skipped' || needs.{wave}.outputs.open == 'true')"
        assert said in found["fleet"]["if"]
    assert {"canary", *waves} == set(found["fleet"]["needs"])


@pytest.mark.parametrize(
    ("results", "runs"),
    [
        ({}, True),
        ({"wave-2": ("success", "true"), "wave-3": ("success", "true")}, True),
        ({"wave-2": ("failure", "true")}, True),
        ({"wave-2": ("failure", "false")}, False),
        ({"wave-2": ("failure", "")}, False),
        ({"wave-2": ("success", "true"), "wave-3": ("cancelled", "")}, False),
        ({"canary": ("failure", "")}, False),
    ],
)
def test_who_rolls_out_to_everybody(results: dict[str, tuple[str, str]], runs: bool) -> None:
    """The last job runs where no wave was split, or every gate opened; a gate that never spoke is shut."""
    names = ("canary", "wave-2", "wave-3", "wave-4")
    said = {"canary": ("success", ""), **dict.fromkeys(names[1:], ("skipped", "")), **results}
    needs = {name: {"result": said[name][0], "outputs": {"open": said[name][1]}} for name in names}

    condition = jobs(FOLDER / "rollout.yml")["fleet"]["if"]
    assert runs is Expressions({"needs": needs}).condition(condition)


@pytest.mark.parametrize(
    ("changed", "build", "images", "runs"),
    [
        ("success", "success", "false", True),
        ("success", "success", "true", True),
        ("success", "skipped", "true", True),
        ("success", "skipped", "false", False),
        ("success", "failure", "true", False),
        ("success", "cancelled", "true", False),
        ("failure", "skipped", "true", False),
        ("failure", "skipped", "", False),
    ],
)
def test_what_is_locked_was_built_or_is_an_image_that_was_missing(
    changed: str, build: str, images: str, *, runs: bool
) -> None:
    """Images are made though no model changed; a model that could not be built still ends the way."""
    needs = {
        "changed": {"result": changed, "outputs": {"images": images}},
        "build": {"result": build, "outputs": {}},
    }
    said = Expressions({"needs": needs}, failed={"success"} != {changed, build})

    assert runs is said.condition(jobs(FOLDER / "build.yml")["lock"]["if"])


@pytest.mark.parametrize(("models", "images"), [("true", "false"), ("false", "true"), ("true", "true")])
def test_only_what_was_built_is_attested(models: str, images: str) -> None:
    """Models that are fetched come behind it, and images last: they are made from both."""
    needs = {"changed": {"outputs": {"any": models, "images": images}}}
    said = Expressions({"needs": needs})
    lock = [step for step in jobs(FOLDER / "build.yml")["lock"]["steps"] if said.condition(step.get("if"))]
    names = [step.get("name") or name_of(step) for step in lock]
    ours = [
        *["actions/download-artifact", "Lock what was built", "Attest who built it, and from what"]
        * (models == "true"),
        "Fetch the models that did not change",
        *["Make the images that are missing"] * (images == "true"),
        "Publish the models",
        "List the images that were made here",
    ]

    assert ours == names[2 : 2 + len(ours)]


@pytest.mark.parametrize(
    ("private", "wanted", "attests"),
    [(False, "", True), (True, "", False), (True, "true", True), (True, "false", False)],
)
def test_a_private_repository_attests_where_its_plan_allows_it(
    wanted: str, *, private: bool, attests: bool
) -> None:
    """GitHub Enterprise alone takes attestations of private repositories: elsewhere no lock would come."""
    contexts = {
        "github": {"event": {"repository": {"private": private}}},
        "vars": {"FLEET_ATTEST": wanted},
        "needs": {"changed": {"outputs": {"any": "true"}}},
        "steps": {"images": {"outputs": {"any": "true"}}},
    }
    steps = [each for each in jobs(FOLDER / "build.yml")["lock"]["steps"] if "attest-" in name_of(each)]

    assert [attests, attests] == [Expressions(contexts).condition(step["if"]) for step in steps]


@pytest.mark.parametrize("workflow", ["build.yml", "rollout.yml"])
def test_another_fleetctl_is_another_release(workflow: str) -> None:
    """It may want other images and serves otherwise: the file that pins it counts like the manifest."""
    triggers = yaml.safe_load((FOLDER / workflow).read_text())[True]

    assert {"inventory/**", ".github/fleetctl.txt"} <= set(triggers["push"]["paths"])


def test_what_is_run_elsewhere_is_in_a_workflow() -> None:
    """The list of steps that no test runs has no entry that nobody has."""
    named = {name_of(step) for path in EVERY for step in all_steps(path)}

    assert set() == set(ELSEWHERE) - named
    assert set() == set(PLAYED) - named


@each_file
def test_every_step_can_be_told_from_others(path: Path) -> None:
    """A `run:` step has a name: the list of exceptions and the log are read by it."""
    assert [] == [step for step in all_steps(path) if "uses" not in step and not step.get("name")]


def test_workflows_call_and_do_not_think() -> None:
    """Thin: a step is a few lines, and none of them is a loop, a function or an `if`."""
    for path in EVERY:
        for step in all_steps(path):
            lines = [line for line in step.get("run", "").splitlines() if not line.lstrip().startswith("#")]
            assert len(lines) <= 5, name_of(step)
            assert not re.search(r"\b(for|while|if|case|function)\b .*(;|$)", step.get("run", "")), name_of(
                step
            )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("github.event.pull_request.head.repo.full_name == github.repository", True),
        ("vars.none || 'ubuntu-24.04'", "ubuntu-24.04"),
        ("!cancelled() && needs.a.outputs.any != 'true'", False),
        ("(steps.drift.outcome == 'failure')", True),
        ("fromJSON(needs.a.outputs.models)", ["x"]),
        ("github.event.nothing.at.all", None),
    ],
)
def test_expressions_mean_what_they_mean_on_github(text: str, value: object) -> None:
    """The little evaluator that runs workflows in tests agrees with GitHub's manual."""
    event = {"pull_request": {"head": {"repo": {"full_name": "a/b"}}}}
    contexts = {
        "github": {"event": event, "repository": "a/b"},
        "vars": {},
        "steps": {"drift": {"outcome": "failure"}},
        "needs": {"a": {"outputs": {"any": "true", "models": '["x"]'}}},
    }

    assert value == Expressions(contexts).value(text)


def test_a_condition_without_a_word_about_failure_means_success() -> None:
    """As on GitHub: `if: x` is not looked at once a step has failed."""
    failed = Expressions({"vars": {"x": "1"}}, failed=True)

    assert [False, True, False] == [
        failed.condition(said) for said in ("vars.x == '1'", "${{ !cancelled() && vars.x == '1' }}", None)
    ]
