"""`fleetctl plan --base`: what a change does, told and judged without asking a board."""

import json
import re
from typing import Any

import jsonschema
import pytest
from git_fleet import MANIFEST, GitFleet, Plan
from toy_build import SIGNS

from fleetctl.manifest.schema import VariantName
from fleetctl.schemas import SCHEMAS


def lock(fleet: GitFleet) -> Any:
    return json.loads((fleet.root / "model_artifacts" / "fleet.lock").read_text())


def write_lock(fleet: GitFleet, document: Any) -> None:
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (fleet.root / "model_artifacts" / "fleet.lock").write_text(text)


def test_no_change_is_nothing(plan: Plan) -> None:
    """Two equal commits are exit 0 and one sentence."""
    said = plan()

    assert (0, "3 boards keep their release\n", "") == (said.status, said.out, said.err)


def test_a_lock_that_was_stale_before_is_not_this_changes_fault(fleet: GitFleet, plan: Plan) -> None:
    """A pull request that touches no file of the fleet passes, and says that there is nothing to roll out;
    one that does touch some is refused for the lock.
    """
    fleet.edit("samples: 6}", "samples: 5}")
    fleet.commit("A recipe without its build")
    (fleet.root / "README.md").write_text("About us")
    untouched = plan()
    fleet.edit("threshold: 0.6", "threshold: 0.7")

    assert (0, "3 boards keep their release\n") == (untouched.status, untouched.out)
    assert "as before this change: fleet.lock is out of date: toy: its recipe" in untouched.err
    assert "run `fleetctl build toy`" in " ".join(untouched.err.split())
    assert 11 == plan().status


def test_only_what_changes_is_shown(fleet: GitFleet, plan: Plan) -> None:
    """A group's value shows its boards by wave, the value, and what it costs; others are a number."""
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    said = plan()

    assert 1 == said.status
    assert "karnak-01  update" in said.out
    assert "threshold: 0.6 -> 0.7" in said.out
    assert "luxor" not in said.out
    assert "1 board would change in 1 wave" in said.out
    assert "2 boards keep their release" in said.out


def test_the_working_tree_and_the_repository_are_not_touched(fleet: GitFleet, plan: Plan) -> None:
    """Comparing leaves no file, no worktree, no ref and no index change behind."""
    before = fleet.git("status", "--porcelain"), fleet.git("for-each-ref"), sorted(fleet.root.rglob("*"))
    fleet.commit("Nothing")
    commit_made = sorted(fleet.root.rglob("*"))
    plan(base="HEAD~1")

    assert before[0] == fleet.git("status", "--porcelain")
    assert commit_made == sorted(fleet.root.rglob("*"))
    assert [str(fleet.root)] == [line.split()[0] for line in fleet.git("worktree", "list").splitlines()]


def test_a_new_model_shows_its_numbers(fleet: GitFleet, plan: Plan) -> None:
    """Accuracy, drop and size of what is locked, before and after, with the number of boards that run it."""
    fleet.edit("samples: 6", "samples: 7")
    fleet.build(wrong={VariantName.INT8: {SIGNS[0]: 2}})
    said = plan("-o", "json").json
    jsonschema.validate(said, SCHEMAS["fleetctl.proposal/v1"])
    change = said["models"][0]

    assert ("toy", "int8", 3) == (change["model"], change["variant"], change["boards"])
    assert change["before"]["top1"] > change["after"]["top1"]
    assert 3 == sum(len(wave["boards"]) for wave in said["waves"])
    assert "model contract" in said["waves"][0]["boards"][0]["reasons"] or any(
        "model" in reason for reason in said["waves"][0]["boards"][0]["reasons"]
    )


def test_settings_that_no_release_holds_are_shown(fleet: GitFleet, plan: Plan) -> None:
    """Another address or a longer soak changes no release, and a reviewer must see it all the same."""
    fleet.edit("host: 192.0.2.2", "host: 192.0.2.9")
    fleet.edit("{group: canary}, {p", "{group: canary, soak: 60s}, {p")
    said = plan("-o", "json")
    jsonschema.validate(said.json, SCHEMAS["fleetctl.proposal/v1"])

    assert {
        "boards.luxor-02.host": ("192.0.2.2", "192.0.2.9"),
        "rollout.waves": ("[canary, 100 %]", "[canary, soak 60 s, 100 %]"),
    } == {s["place"]: (s["before"], s["after"]) for s in said.json["settings"]}
    assert 1 == said.status


def test_a_stale_lock_is_refused_and_the_rest_told(fleet: GitFleet, plan: Plan) -> None:
    """A recipe without its build is exit 11, and the comment says so beside what else is known."""
    fleet.edit("samples: 6", "samples: 9")
    fleet.edit("host: 192.0.2.2", "host: 192.0.2.9")
    said = plan("-o", "markdown")

    assert 11 == said.status
    assert "> fleet.lock is out of date: toy: its recipe or its data changed" in said.out
    assert "boards.luxor-02.host" in said.out


def test_a_manifest_with_problems_is_a_comment_too(fleet: GitFleet, plan: Plan) -> None:
    """The result in Markdown has every problem with its place, and nothing in the file breaks it."""
    fleet.edit("site: luxor}}\n  luxor-02", "site: luxor}, modle: '|@all<b>'}\n  luxor-02")
    said = plan("-o", "markdown")

    assert 10 == said.status
    assert re.search("inventory/fleet.yaml:\u2060?15:", said.out)  # a joiner: `:15:` is no picture
    assert "unknown key \\`modle\\`" in said.out


@pytest.mark.parametrize(
    ("old", "new", "danger", "said"),
    [
        ("  luxor-02", "#  luxor-02", "", ""),
        (
            "  luxor-02: {board: raspberrypi4, model: toy, host: 192.0.2.2, labels: {site: luxor}}\n"
            "  karnak-01",
            "  karnak-02",
            "delete-boards",
            "2 of 3 boards leave the fleet: luxor-02, karnak-01",
        ),
        ("min_accuracy: 0.5", "min_accuracy: 0.4", "lower-gate", "toy: min_accuracy 0.5 -> 0.4"),
        ("    gates: {min_accuracy: 0.5}\n", "", "lower-gate", "toy: min_accuracy 0.5 -> not asked"),
        (
            "waves: [{group: canary}, {percent: 100}]",
            "gate: {success: 0.5, canary_failures: 1, inconclusive: pass}",
            "lower-gate",
            "gate.canary_failures 0 -> 1; lower-gate: gate.success 0.95 -> 0.5; "
            "lower-gate: gate.inconclusive pause -> pass; lower-gate: waves 2 -> 1",
        ),
        (
            "waves: [{group: canary}, {p",
            "revert: failed\n  waves: [{group: canary}, {p",
            "lower-gate",
            "lower-gate: revert wave -> failed",
        ),
    ],
)
def test_dangers_are_refused(fleet: GitFleet, plan: Plan, old: str, new: str, danger: str, said: str) -> None:
    """What is seldom meant is exit 12, and the error says what to write if it is; less is no danger."""
    fleet.edit(old, new)
    found = plan()

    assert (12 if danger else 1) == found.status, found
    assert said in found.err.replace("\n", " ")
    if danger:
        assert f"DANGER   {danger}: " in found.out
        assert f"`rollout: {{allow: {{{danger}: WHY}}}}`" in found.err


def test_deleting_every_board_is_refused(fleet: GitFleet, plan: Plan) -> None:
    """A fleet whose boards were all replaced says so in one sentence."""
    for name in ("luxor-01: {", "luxor-02: {", "karnak-01: {"):
        fleet.edit(f"  {name}", f"  new-{name}")
    fleet.edit("boards: [luxor-01]", "boards: [new-luxor-01]")
    said = plan()

    assert 12 == said.status
    assert "delete-boards: all 3 boards leave the fleet: luxor-01, luxor-02, karnak-01" in said.err
    assert "No longer managed, and left as they are: luxor-01, luxor-02, karnak-01" in said.out


def test_renaming_a_model_in_use_is_refused(fleet: GitFleet, plan: Plan) -> None:
    """The change says that it is a new name and not a new model, though its lock is stale as well."""
    text = fleet.manifest.read_text().replace("model: toy", "model: reader").replace("  toy:", "  reader:")
    fleet.manifest.write_text(text)
    said = plan()

    assert 12 == said.status
    assert "model toy, which luxor-01, luxor-02, karnak-01 run, has the name reader now" in said.err


def test_a_danger_is_allowed_by_the_very_change(fleet: GitFleet, plan: Plan) -> None:
    """The reason is shown loudly; once merged it allows nothing any more, and the plan says so."""
    fleet.edit("min_accuracy: 0.5", "min_accuracy: 0.4")
    fleet.edit("rollout:\n", "rollout:\n  allow: {lower-gate: harder photos}\n")
    allowed = plan("-o", "markdown")
    fleet.commit("Lower the gate")
    fleet.edit("min_accuracy: 0.4", "min_accuracy: 0.3")
    again = plan()

    assert 1 == allowed.status
    assert "> [!WARNING]\n> Allowed by this change:\n> - `lower-gate`: toy: min_accuracy" in allowed.out
    assert "(meant: harder photos)" in allowed.out
    assert 12 == again.status
    assert "rollout.allow has lower-gate, which allows nothing in this change: take it out" in again.out


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            ("variants", "int8", "metrics", "top1"),
            0.999,
            "toy int8: metrics changed, and the artifact did not",
        ),
        (("input",), "0" * 64, "toy is said to be built from other inputs, with the same bytes as before"),
    ],
)
def test_a_lock_edited_by_hand_is_refused(
    fleet: GitFleet, plan: Plan, path: tuple[str, ...], value: object, said: str
) -> None:
    """Numbers that no build wrote: prettier accuracy, or inputs that were never built."""
    document = lock(fleet)
    place = document["models"]["toy"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    write_lock(fleet, document)
    found = plan()

    assert 12 == found.status
    assert f"edited-lock: {said}" in found.err
    assert "card.md is missing, or about another build than the lock" in found.err


def test_a_lock_whose_digests_do_not_fit_is_no_lock(fleet: GitFleet, plan: Plan) -> None:
    """Another file under the same artifact is exit 10 with its place, whatever the manifest allows."""
    document = lock(fleet)
    document["models"]["toy"]["variants"]["int8"]["files"]["model.tflite"]["sha256"] = "0" * 64
    write_lock(fleet, document)
    said = plan()

    assert 10 == said.status
    assert "model_artifacts/fleet.lock:" in said.err


def test_a_template_that_attacks_is_refused_with_its_line(fleet: GitFleet, plan: Plan) -> None:
    """A way out of the sandbox is a problem of the template, at its place in the pull request."""
    folder = fleet.root / "inventory" / "templates"
    folder.mkdir()
    (folder / "serve.json.j2").write_text("{}\n{{ config.__class__.__mro__[1].__subclasses__() }}\n")
    said = plan("-o", "markdown")

    assert 10 == said.status
    assert "inventory/templates/serve.json.j2:2" in said.out + said.err


def test_a_template_that_is_a_link_is_refused(fleet: GitFleet, plan: Plan) -> None:
    """A pull request cannot read the runner's files by a template that points at them."""
    folder = fleet.root / "inventory" / "templates"
    folder.mkdir()
    (folder / "passwd.j2").symlink_to("/etc/passwd")
    said = plan()

    assert 10 == said.status
    assert "passwd.j2: is a link, and no template leads to other files" in said.err
    assert "root:" not in said.out + said.err


def test_a_commit_without_a_manifest_is_an_empty_fleet(fleet: GitFleet, plan: Plan) -> None:
    """The first pull request brings every board, and is no danger for that."""
    fleet.git("checkout", "-q", "--orphan", "empty")
    fleet.git("rm", "-rq", "--cached", ".")
    fleet.git("commit", "-q", "--allow-empty", "-m", "Empty")
    said = plan("-o", "json")

    assert 1 == said.status
    assert 3 == sum(len(wave["boards"]) for wave in said.json["waves"])
    assert [] == said.json["dangers"]


def test_a_base_that_cannot_be_read_is_a_danger(fleet: GitFleet, plan: Plan) -> None:
    """Nobody can say what is taken away; the change that mends the base says that it does."""
    good = fleet.manifest.read_text()
    fleet.manifest.write_text("kind: Nonsense\n")
    fleet.commit("Break")
    fleet.manifest.write_text(good)
    refused = plan()
    fleet.edit("rollout:\n", "rollout:\n  allow: {unreadable-base: mends it}\n")

    assert 12 == refused.status
    assert "unreadable-base" in refused.err
    assert 1 == plan().status


BROKEN = [
    "{{ nothing.of.the.kind }}",  # where it is rendered
    "{}\n{% if %}",  # for nobody
    '{"threshold": {{ 1 // (board.serve_port - 8091) }}}',
    "no JSON",
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_template_that_is_broken_already_can_be_mended(fleet: GitFleet, plan: Plan, text: str) -> None:
    """The change passes, says that nobody knows what boards ran, and is told no error that is not its own."""
    path = fleet.root / "inventory" / "templates" / "serve.json.j2"
    path.parent.mkdir()
    path.write_text(text)
    broken = fleet.commit("Break a template")
    path.unlink()
    said, told = plan("-o", "json"), plan()
    jsonschema.validate(said.json, SCHEMAS["fleetctl.proposal/v1"])
    steps = [step for wave in said.json["waves"] for step in wave["boards"]]

    assert (1, None, []) == (said.status, said.json["error"], said.json["dangers"]), said
    assert {"templates"} == {each["place"] for each in said.json["settings"]}
    was = said.json["settings"][0]["before"]
    assert was.startswith(f"what it was cannot be said: {broken[:12]}:inventory/templates/serve.json.j2")
    assert {"what it ran cannot be said, so all is counted"} == {r for s in steps for r in s["reasons"]}
    assert "fleetctl render" not in was  # which would show the files here
    assert {"update"} == {step["action"] for step in steps}
    assert "3 boards would change in 2 waves" in told.out


def test_a_template_that_stays_broken_is_the_changes_own_error(fleet: GitFleet, plan: Plan) -> None:
    """At its line as it is here."""
    path = fleet.root / "inventory" / "templates" / "serve.json.j2"
    path.parent.mkdir()
    path.write_text("{}\n{% if %}")
    fleet.commit("Break a template")
    path.write_text("{}\n\n{% if %}")
    said = plan()

    assert 10 == said.status
    assert "inventory/templates/serve.json.j2:3" in said.err
    assert "serve.json.j2:2" not in said.out + said.err


@pytest.mark.parametrize(
    ("changes", "boards"),
    [
        ({"192.0.2.2": "192.0.2.9"}, ["luxor-02"]),
        ({"192.0.2.2": "192.0.2.3", "192.0.2.3": "192.0.2.2"}, ["luxor-02", "karnak-01"]),
        ({"host: 192.0.2.2": "via: iothub"}, ["luxor-02"]),
        ({"host: 192.0.2.2": "host: 192.0.2.2, port: 2222"}, ["luxor-02"]),
        ({"host: 192.0.2.2": "host: 192.0.2.2, root: /srv/fleet"}, ["luxor-02"]),
        ({"host: 192.0.2.2": "host: 192.0.2.2, user: pi"}, []),
    ],
)
def test_what_runs_at_another_address_is_not_known(
    fleet: GitFleet, plan: Plan, changes: dict[str, str], boards: list[str]
) -> None:
    """A board of the same name elsewhere is no board that keeps its release, as far as anybody can say."""
    text = fleet.manifest.read_text()
    parts = re.split("|".join(f"({re.escape(old)}\\b)" for old in changes), text)
    fleet.manifest.write_text("".join(changes.get(part, part) for part in parts if part))
    said = plan("-o", "json").json
    steps = [step for wave in said["waves"] for step in wave["boards"]]

    assert boards == [step["board"] for step in steps]
    assert 3 - len(boards) == said["unchanged"]
    for step in steps:
        assert ["another address: what it runs is not known, so all is counted"] == step["reasons"]
        assert (None, "update") == (step["current"], step["action"])
        assert step["send_bytes"] > 100_000


def test_another_hub_is_another_address(fleet: GitFleet, plan: Plan) -> None:
    """Boards that are reached over a hub are somebody else's at another one; the others stay."""
    fleet.edit("host: 192.0.2.3, labels", "via: iothub, labels")
    fleet.commit("Over a hub")
    fleet.edit("rollout:\n", "iothub: {host: other.example}\nrollout:\n")
    said = plan("-o", "json").json

    assert ["karnak-01"] == [step["board"] for wave in said["waves"] for step in wave["boards"]]
    assert 2 == said["unchanged"]
    assert ["iothub.host"] == [each["place"] for each in said["settings"]]


UNREADABLE = [
    ("templates/serve.json.j2", b"{}\n\xff", "templates/serve.json.j2:2: not UTF-8"),
    ("templates/a b.j2", b"", "templates/a b.j2: its name may have letters, digits, dots,"),
    (
        "fleet.yaml",
        MANIFEST.replace("models:\n", "include: [fleet.yaml]\nmodels:\n").encode(),
        "fleet.yaml:4:11: include[0]: `inventory/fleet.yaml` includes itself",
    ),
]


@pytest.mark.parametrize(("name", "data", "says"), UNREADABLE)
def test_what_is_wrong_with_a_base_is_told_at_its_place_in_git(
    fleet: GitFleet, plan: Plan, name: str, data: bytes, says: str
) -> None:
    """As `git show` takes it: nobody would look for it among the files here, nor where it was read from."""
    file = fleet.root / "inventory" / name
    before = file.read_bytes() if file.exists() else None
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    broken = fleet.commit("Break")
    file.unlink() if before is None else file.write_bytes(before)
    said = plan()

    assert 12 == said.status, said
    assert f"{broken[:12]}:inventory/{says}" in said.err


def test_a_base_behind_a_link_is_a_danger(fleet: GitFleet, plan: Plan) -> None:
    """Nobody follows the link; the change that puts the folder in its place can say that it is meant."""
    fleet.git("mv", "inventory", "elsewhere")
    (fleet.root / "inventory").symlink_to("elsewhere")
    linked = fleet.commit("Link")
    (fleet.root / "inventory").unlink()
    fleet.git("mv", "elsewhere", "inventory")
    fleet.commit("Put it in its place")
    refused = plan(base="HEAD~1")
    fleet.edit("rollout:\n", "rollout:\n  allow: {unreadable-base: put in its place}\n")
    by_commit = plan("--commit-by-commit", base="HEAD~2")

    assert 12 == refused.status, refused
    assert f"unreadable-base: {linked[:12]} cannot be compared with: inventory of commit" in refused.err
    assert 1 == plan(base="HEAD~1").status
    assert 1 == by_commit.status, by_commit


def test_an_unknown_revision_is_a_usage_error(plan: Plan) -> None:
    """A branch that is not here is exit 2 and says how to get it; nothing is taken for an option of git."""
    assert 2 == plan(base="origin/nowhere").status
    assert 2 == plan(base="--output=/tmp/x").status


def test_thousands_of_new_boards_are_refused_and_told_briefly(fleet: GitFleet, plan: Plan) -> None:
    """The comment stays small enough for GitHub, and boards to which the same happens share a row."""
    many = "".join(
        f"  many-{n}: {{board: raspberrypi4, model: toy, host: many-{n}.example}}\n" for n in range(2000)
    )
    fleet.edit("boards:\n", f"boards:\n{many}")
    said = plan("-o", "markdown")

    assert 12 == said.status
    assert "many-boards: 2,000 new boards in a fleet of 3" in said.err
    assert len(said.out.encode()) < 65_536
    assert "many-0, many-1, many-2, many-3 and 1,9" in said.out


def test_what_an_iot_hub_is_asked_is_reckoned(fleet: GitFleet, plan: Plan) -> None:
    """Calls and minutes of the boards that a hub reaches stand in the comment before anything is written."""
    none = plan("-o", "json").json["iothub"]
    fleet.edit("host: 192.0.2.3, labels", "via: iothub, labels")
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    said = plan("-o", "json").json
    jsonschema.validate(said, SCHEMAS["fleetctl.proposal/v1"])

    assert none is None
    assert 1 == said["iothub"]["boards"]
    assert said["iothub"]["calls"] > 0
    assert "IoT Hub: about" in plan().out


def test_plots_of_changed_models_are_shown(
    fleet: GitFleet, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On GitHub the comment has the pictures of the card of what changed, at their commit."""
    fleet.edit("samples: 6", "samples: 7")
    fleet.build()
    (fleet.root / "model_artifacts" / "toy" / "confusion.png").write_bytes(b"a picture")
    assert "confusion" not in plan("-o", "markdown").out
    for name, value in {
        "GITHUB_ACTIONS": "true",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "temples/unas",
        "GITHUB_SHA": "c0ffee",
    }.items():
        monkeypatch.setenv(name, value)
    address = "https://github.example/temples/unas/raw/c0ffee/model_artifacts/toy/confusion.png"

    assert f"![plot of toy]({address})" in plan("-o", "markdown").out
