"""Boards get what git says: whatever its folder is called, and whatever git was told to overlook."""

import shutil
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet

from fleetctl.project import Project
from fleetctl.revision import commit_of, uncommitted

BOARDS = "boards: {luxor-03: {board: raspberrypi4, model: toy, host: 192.0.2.4, labels: {site: luxor}}}\n"


@pytest.fixture
def elsewhere(fleet: GitFleet) -> GitFleet:
    """The same fleet, whose manifest lies in a folder of another name."""
    fleet.git("mv", "inventory", "fleet*A")
    fleet.commit("Another name")
    fleet.push()
    return GitFleet(fleet.root, "fleet*A")


def commits_on_boards(fleetctl: Fleetctl, *of: str) -> set[str]:
    return {board["commit"] for board in fleetctl("status", *of, "-o", "json").json["boards"]}


def test_a_folder_of_another_name_is_rolled_out(elsewhere: GitFleet, fleetctl: Fleetctl) -> None:
    """A commit is read from where its manifest lies."""
    of = ("-f", "fleet*A/fleet.yaml")
    said = fleetctl("rollout", *of, "--yes", "--commit", "HEAD")

    assert 0 == said.status, said.err
    assert {elsewhere.head} == commits_on_boards(fleetctl, *of)


def test_edits_in_a_folder_of_another_name_are_noticed(elsewhere: GitFleet, fleetctl: Fleetctl) -> None:
    """Else they would be signed, and rolled out, as if they were the commit."""
    of = ("-f", "fleet*A/fleet.yaml")
    elsewhere.edit("threshold: 0.6", "threshold: 0.9")
    refused = fleetctl("rollout", *of, "--yes", "--commit", "HEAD")
    plain = fleetctl("rollout", *of, "--yes")

    assert (31, 0) == (refused.status, plain.status), plain.err
    assert "files here differ from git: fleet*A/fleet.yaml" in refused.err
    assert {f"{elsewhere.head}-dirty"} == commits_on_boards(fleetctl, *of)


def test_dangers_in_a_folder_of_another_name_are_called(elsewhere: GitFleet, fleetctl: Fleetctl) -> None:
    """Before and after it is committed, commit by commit too."""
    before = elsewhere.head
    for number, site in ((1, "luxor"), (2, "luxor")):
        elsewhere.edit(
            f"  luxor-0{number}: {{board: raspberrypi4, model: toy, host: 192.0.2.{number}, "
            f"labels: {{site: {site}}}}}\n",
            "",
        )
    elsewhere.edit("canary: {boards: [luxor-01]}", "canary: {boards: [karnak-01]}")
    edited = fleetctl("plan", "-f", "fleet*A/fleet.yaml", "--base", "HEAD")
    elsewhere.commit("Two less")
    committed = fleetctl("plan", "-f", "fleet*A/fleet.yaml", "--base", before, "--commit-by-commit")

    assert (12, 12) == (edited.status, committed.status)
    assert f"{elsewhere.head[:12]} brought it" in committed.err


LINES = ["plan --base HEAD", "plan", "rollout --yes", "rollout --yes --commit HEAD", "status"]


@pytest.mark.parametrize("line", LINES)
def test_a_link_in_place_of_the_folder_is_refused(fleet: GitFleet, fleetctl: Fleetctl, line: str) -> None:
    """Git keeps the link alone, so that no edit behind it would ever be seen."""
    fleet.git("mv", "inventory", "fleetA")
    Path("inventory").symlink_to("fleetA")
    fleet.commit("A link")
    fleet.push()
    said = fleetctl(*line.split())

    assert 2 == said.status
    assert f"{fleet.root}/inventory is a link to fleetA" in said.err
    assert "hint: put what it leads to in its place, and commit that; or name the manifest where it lies" in (
        said.err
    )
    assert "`-f fleetA/fleet.yaml`" in said.err
    assert "is a link" not in fleetctl(*line.split(), "-f", "fleetA/fleet.yaml").err


@pytest.mark.parametrize(
    "path",
    [
        *("inventory/fleet.yaml", "inventory/templates", "inventory/trust/release.pem"),
        *("inventory/known_hosts", "model_artifacts", "model_artifacts/fleet.lock"),
    ],
)
def test_a_link_to_what_releases_are_made_of_is_refused(
    fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path, path: str
) -> None:
    """The manifest, templates and lock may lie behind one too; outside of git that is nobody's business."""
    there = tmp_path / "there"
    if Path(path).exists():
        shutil.move(path, there)
    else:
        there.mkdir()
        Path(path).parent.mkdir(exist_ok=True)
    Path(path).symlink_to(there)
    fleet.commit("A link")
    inside = fleetctl("rollout", "--yes")
    shutil.rmtree(".git")
    outside = fleetctl("plan")

    assert (2, True) == (inside.status, f"{path} is a link to {there}" in inside.err)
    assert ("-f" in inside.err) == (path == "inventory/fleet.yaml")
    assert "is a link" not in outside.err


def test_a_link_to_a_manifest_beside_it_is_as_good_as_a_file(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Git sees both."""
    fleet.git("mv", "inventory/fleet.yaml", "inventory/production.yaml")
    fleet.manifest.symlink_to("production.yaml")
    fleet.commit("Which one it is")
    fleet.push()
    clean = fleetctl("rollout", "--yes", "--commit", "HEAD")
    file = fleet.root / "inventory" / "production.yaml"
    file.write_text(file.read_text().replace("threshold: 0.6", "threshold: 0.9"))

    assert 0 == clean.status, clean.err
    assert 31 == fleetctl("rollout", "--yes", "--commit", "HEAD").status


def test_a_commit_whose_folder_is_a_link_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """It would be read as a fleet without boards, or from wherever the link leads on this machine."""
    now = fleet.head
    fleet.git("mv", "inventory", "fleetA")
    Path("inventory").symlink_to(fleet.root / "fleetA")
    linked = fleet.commit("A link")
    fleet.git("checkout", "-q", now)

    against = fleetctl("plan", "--base", linked)
    brought = fleetctl("rollout", "--yes", "--commit", linked, "--allow-unpushed")

    assert 12 == against.status
    assert "unreadable-base" in against.out
    assert (2, True) == (brought.status, "is a link: git keeps no fleet in it" in brought.err), brought


def test_a_manifest_at_the_top_of_its_repository_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Its lock would lie outside of it."""
    shutil.move(".git", "inventory/.git")
    GitFleet(fleet.root / "inventory").commit("At the top")
    said = fleetctl("rollout", "--yes")

    assert 2 == said.status
    assert "inventory is a git repository of its own: manifest and lock belong into one" in said.err


def test_a_roundabout_way_to_the_manifest_is_none(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """`..` is no name of a folder that git knows."""
    (fleet.root / "inventory" / "templates").mkdir()
    said = fleetctl("rollout", "-f", "inventory/templates/../fleet.yaml", "--yes", "--commit", "HEAD")

    assert 0 == said.status, said.err


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        (".gitignore", "inventory/more.yaml"),
        (".gitignore", "inventory/local/more.txt"),
        (".git/info/exclude", "inventory/more.yaml"),
    ],
)
def test_an_ignored_include_is_not_committed(
    fleet: GitFleet, fleetctl: Fleetctl, rule: str, path: str
) -> None:
    """Its boards would get releases that are nowhere in git, by the name of a clean commit."""
    include = Path(path).relative_to("inventory")
    fleet.edit("kind: Fleet\n", f"kind: Fleet\ninclude: [{include}]\n")
    with Path(rule).open("a") as file:
        file.write("more.yaml\nlocal/\n")
    fleet.commit("Include what is not there")
    fleet.push()
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(BOARDS)
    refused = fleetctl("rollout", "--yes", "--commit", "HEAD")
    plain = fleetctl("rollout", "--yes")

    assert (31, 0) == (refused.status, plain.status), plain.err
    assert f"{path} (git ignores it, it is not committed)" in refused.err
    assert {f"{fleet.head}-dirty"} == commits_on_boards(fleetctl)


def test_what_no_release_is_made_of_may_be_ignored(fleet: GitFleet) -> None:
    """Photos, which the lock is held against, and what systems and editors leave behind."""
    Path(".gitignore").write_text("*.png\n.DS_Store\n*.swp\n*~\n*.bak\nmodel_artifacts/store/\n.fleetctl/\n")
    fleet.commit("Ignore")
    for name in (".DS_Store", ".fleet.yaml.swp", "fleet.yaml~", "fleet.yaml.bak", "photos/000011_G17.png"):
        (fleet.root / "inventory" / name).write_bytes(b"\0")

    assert fleet.head == commit_of(Project(fleet.manifest))


@pytest.mark.parametrize(
    "name", ["fleet.yaml~", "fleet.yaml.bak", "#fleet.yaml#", "templates/config.json.j2~"]
)
def test_backups_of_editors_stop_nobody(fleet: GitFleet, fleetctl: Fleetctl, name: str) -> None:
    """Nothing reads them, so they need not even be ignored; one that git has is a file like any other."""
    backup = fleet.root / "inventory" / name
    backup.parent.mkdir(exist_ok=True)
    backup.write_text("kind: Fleet\n")
    untracked = fleetctl("rollout", "--yes", "--commit", "HEAD")
    fleet.commit("By mistake")
    backup.write_text("kind: Other\n")

    assert 0 == untracked.status, untracked.err
    assert [f"inventory/{name}"] == uncommitted(Project(fleet.manifest))


@pytest.mark.parametrize("name", ["more.bak", "more.csv", "link.yaml"])
def test_what_may_be_ignored_is_not_included(fleet: GitFleet, fleetctl: Fleetctl, name: str) -> None:
    """By its name, nor behind a link: else boards that git does not have would pass for committed."""
    Path("inventory/more.bak").write_text(BOARDS)
    Path("inventory/more.csv").write_text(BOARDS)
    Path("inventory/link.yaml").symlink_to("more.bak")
    by_glob = "include: ['more.*']\n"
    fleet.edit("kind: Fleet\n", f"kind: Fleet\ninclude: [{name}]\n")
    named = fleetctl("validate")
    fleet.edit(f"include: [{name}]\n", by_glob)

    assert 10 == named.status
    assert f"`inventory/{name}` is called like a photo, a table or a backup" in named.err
    assert "no file is called like `inventory/more.*`" in fleetctl("validate").err


def test_a_manifest_of_any_name_has_to_be_committed(fleet: GitFleet) -> None:
    """`-f` takes any file, and a link to what lies beside it leads to any."""
    shutil.copy(fleet.manifest, "inventory/old.bak")
    Path("inventory/now.yaml").symlink_to("old.bak")
    Path(".git/info/exclude").write_text("*.bak\n")
    said = ["inventory/now.yaml", "inventory/old.bak (git ignores it, it is not committed)"]

    assert said == uncommitted(Project(fleet.root / "inventory" / "now.yaml"))
    assert said == uncommitted(Project(fleet.root / "inventory" / "old.bak"))
    assert said[:1] == uncommitted(Project(fleet.manifest))


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_looked_at(
    fleet: GitFleet, fleetctl: Fleetctl, mark: str
) -> None:
    """The mark alone is no difference, an edit under it is."""
    fleet.git("update-index", mark, "inventory/fleet.yaml", "model_artifacts/fleet.lock")
    same = fleetctl("rollout", "--yes", "--commit", "HEAD")
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    edited = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert (0, 31) == (same.status, edited.status), same.err
    assert "differ from git: inventory/fleet.yaml (git was told not to look at it); nothing" in edited.err
    assert f"{fleet.head}-dirty" == commit_of(Project(fleet.manifest))


def test_settings_of_git_hide_no_file(fleet: GitFleet) -> None:
    """Somebody's `status.showUntrackedFiles = no` is about what they want to see."""
    fleet.git("config", "status.showUntrackedFiles", "no")
    (fleet.root / "inventory" / "more.yaml").write_text(BOARDS)

    assert ["inventory/more.yaml"] == uncommitted(Project(fleet.manifest))
