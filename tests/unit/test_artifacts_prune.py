"""`fleetctl artifacts prune`: what nobody needs goes, and nothing else."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from git_fleet import Fleetctl, GitFleet

from fleetctl import lockfile
from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, BlobRef
from fleetctl.build.built import finished_file
from fleetctl.keeping import prunable
from fleetctl.lockfile import FleetLock, LockedModel, LockedVariant, Metrics
from fleetctl.project import Project
from fleetctl.pruning import remove
from fleetctl.schemas import SCHEMAS
from fleetctl.store import BlobStore, Journal, Lock, canonical_json, sha256

DAY = 86400
LONG_AGO = time.time() - 400 * DAY


@pytest.fixture
def project(fleet: GitFleet) -> Project:
    return Project(fleet.manifest)


@pytest.fixture
def stale(project: Project) -> Path:
    """A blob that nobody ever locked, and nobody used for a year."""
    store = BlobStore(project.store)
    return aged(store.path(store.put(b"of a release that was rendered")))


def aged(path: Path) -> Path:
    for each in (*path.rglob("*"), path):
        os.utime(each, (LONG_AGO, LONG_AGO), follow_symlinks=False)
    return path


def model(project: Project, name: str) -> LockedModel:
    """One whose blobs lie in the store, and were last used a year ago."""
    store = BlobStore(project.store)
    files = {}
    for file in (CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE):
        data = f"{file} of {name}".encode()
        files[file] = BlobRef(store.put(data), len(data))
        aged(store.path(files[file].sha256))
    variant = LockedVariant(Artifact("toy", "int8", files), Metrics(10, 1.0, 0.0, None, 1))
    return LockedModel(sha256(name.encode()), {"toy": "1"}, {"int8": variant})


def lock(fleet: GitFleet, project: Project, name: str, *, at: float = LONG_AGO) -> set[Path]:
    """Commit a lock of that model, as if it were that time; its blobs."""
    locked = model(project, name)
    lockfile.write(project.lockfile, FleetLock({"toy": locked}))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GIT_COMMITTER_DATE", f"@{at:.0f} +0000")
        fleet.commit(f"Lock {name}")
    return blobs(project, locked)


def blobs(project: Project, locked: LockedModel) -> set[Path]:
    files = locked.variants["int8"].artifact.files.values()
    return {BlobStore(project.store).path(ref.sha256) for ref in files}


def are_there(paths: set[Path]) -> bool:
    found = {path.exists() for path in paths}
    assert len(found) == 1
    return found.pop()


def test_it_says_first_what_would_go(fleetctl: Fleetctl, stale: Path) -> None:
    """In a table; where nobody is there to be asked, nothing is removed."""
    said = fleetctl("artifacts", "prune")

    assert 2 == said.status
    assert ["WHAT  COUNT  BYTES  LAST USED", "blob  1      30 B   400 d ago"] == said.out.splitlines()
    assert "nobody is there to be asked" in said.err
    assert stale.exists()


def test_what_nobody_needs_goes(fleetctl: Fleetctl, stale: Path) -> None:
    """And only that: the fleet is as whole as it was, and the next look finds nothing."""
    said = fleetctl("artifacts", "prune", "--yes")

    assert (0, False) == (said.status, stale.exists())
    assert "✓ 30 B removed" in said.err
    assert 0 == fleetctl("build", "--check").status
    again, page = fleetctl("artifacts", "prune"), fleetctl("artifacts", "prune", "-o", "markdown")
    assert ("", "  nothing to remove\n") == (again.out, again.err)
    assert ("nothing to remove\n", "") == (page.out, page.err)


def test_machines_are_told_each_by_name(fleetctl: Fleetctl, stale: Path) -> None:
    """With its path, its size and when it was last used."""
    said = fleetctl("artifacts", "prune", "--yes", "-o", "json")

    jsonschema.validate(said.json, SCHEMAS["fleetctl.prune/v1"])
    assert [f"model_artifacts/store/sha256/{stale.name}"] == [each["path"] for each in said.json["things"]]
    assert 30 == said.json["bytes"]


def test_what_was_used_in_these_days_stays(fleetctl: Fleetctl, project: Project, stale: Path) -> None:
    """Rendering a release again is using it."""
    BlobStore(project.store).put(stale.read_bytes())

    assert (0, True) == (fleetctl("artifacts", "prune", "--yes").status, stale.exists())
    fleetctl("artifacts", "prune", "--yes", "--older-than", "0")
    assert not stale.exists()


def test_what_is_put_while_it_looks_stays(project: Project, stale: Path) -> None:
    """A blob that was seen to be of no use, and then was."""
    seen = prunable(project, time.time() - DAY)
    added = BlobStore(project.store).put(b"of a release that is new")
    BlobStore(project.store).put(stale.read_bytes())
    remove(seen)

    assert [stale] == [thing.path for thing in seen]
    assert (True, True) == (stale.exists(), BlobStore(project.store).path(added).exists())


@pytest.mark.usefixtures("stale")
def test_what_is_not_ours_stays(fleetctl: Fleetctl, project: Project) -> None:
    """Files under names that we do not give, and links."""
    folder = project.store / "sha256"
    note, odd, link = folder / "README", folder / ("a" * 63), folder / ("b" * 64)
    note.write_text("mine")
    odd.write_text("mine")
    link.symlink_to(note)
    aged(folder)
    fleetctl("artifacts", "prune", "--yes")

    assert all(path.is_file() for path in (note, odd, link))


def _on_a_branch(fleet: GitFleet) -> None:
    fleet.git("branch", "other")


def _on_a_remote(fleet: GitFleet) -> None:
    fleet.git("update-ref", "refs/remotes/origin/other", "HEAD")


def _under_a_tag(fleet: GitFleet) -> None:
    fleet.git("tag", "-a", "-m", "Kept", "v1")


def _rolled_out(fleet: GitFleet) -> None:
    journal = Journal(fleet.root / ".fleetctl/journal/20260101T000000Z.jsonl")
    journal.append({"event": "rollout_started", "commit": f"{fleet.head}-dirty"})
    aged(journal.path)


@pytest.mark.parametrize("known", [_on_a_branch, _on_a_remote, _under_a_tag, _rolled_out])
def test_what_git_still_leads_to_stays(
    fleet: GitFleet, fleetctl: Fleetctl, project: Project, known: Callable[[GitFleet], None]
) -> None:
    """Another lock than the one here: of a branch, here or elsewhere, a tag, or what boards were given."""
    fleet.git("checkout", "-q", "-b", "side")
    theirs = lock(fleet, project, "theirs")
    known(fleet)
    fleet.git("checkout", "-q", "main")
    fleet.git("branch", "-D", "side")
    fleetctl("artifacts", "prune", "--yes")

    assert are_there(theirs)


def test_what_nothing_leads_to_any_more_goes(fleet: GitFleet, fleetctl: Fleetctl, project: Project) -> None:
    """The lock of a branch that was deleted."""
    fleet.git("checkout", "-q", "-b", "side")
    theirs = lock(fleet, project, "theirs")
    fleet.git("checkout", "-q", "main")
    fleet.git("branch", "-D", "side")
    fleetctl("artifacts", "prune", "--yes")

    assert not are_there(theirs)


def test_older_locks_stay_as_long_as_somebody_may_go_back(
    fleet: GitFleet, fleetctl: Fleetctl, project: Project
) -> None:
    """The one before today's, and each that was in force in these days; before these, none."""
    now = time.time()
    locks = [lock(fleet, project, f"of {days} days ago", at=now - days * DAY) for days in (90, 60, 20, 10)]
    fleetctl("artifacts", "prune", "--yes")
    first = [are_there(each) for each in locks]
    fleetctl("artifacts", "prune", "--yes", "--older-than", "5")

    assert [False, True, True, True] == first
    assert [False, False, True, True] == [are_there(each) for each in locks]


def test_the_index_and_the_files_here_count(fleet: GitFleet, fleetctl: Fleetctl, project: Project) -> None:
    """What was built and added, and what was built after it, is in no commit yet."""
    added, written = model(project, "added"), model(project, "written")
    lockfile.write(project.lockfile, FleetLock({"toy": added}))
    fleet.git("add", "-A")
    lockfile.write(project.lockfile, FleetLock({"toy": written}))
    fleetctl("artifacts", "prune", "--yes")

    assert are_there(blobs(project, added) | blobs(project, written))


def test_a_damaged_lock_anywhere_keeps_everything(
    fleet: GitFleet, fleetctl: Fleetctl, project: Project, stale: Path
) -> None:
    """Nobody can say what it needs; the message says which it is."""
    fleet.git("checkout", "-q", "-b", "broken")
    project.lockfile.write_text(project.lockfile.read_text()[:-20])
    fleet.commit("Break the lock")
    fleet.git("checkout", "-q", "main")
    said = fleetctl("artifacts", "prune", "--yes")

    assert (10, True) == (said.status, stale.exists())
    assert "refs/heads/broken:model_artifacts/fleet.lock" in said.err


def test_without_a_lock_everything_is_kept(fleetctl: Fleetctl, project: Project, stale: Path) -> None:
    """It was lost, rather than that nothing is needed."""
    project.lockfile.unlink()

    assert (11, True) == (fleetctl("artifacts", "prune", "--yes").status, stale.exists())


def test_a_repository_that_git_cannot_open_does_not_pass_for_none(
    fleet: GitFleet, fleetctl: Fleetctl, stale: Path
) -> None:
    """As after a power cut: its branches may need anything."""
    (fleet.root / ".git/HEAD").write_text("")

    assert 0 != fleetctl("artifacts", "prune", "--yes").status
    assert stale.exists()


def test_a_lock_that_git_lost_keeps_everything(
    fleet: GitFleet, fleetctl: Fleetctl, project: Project, stale: Path
) -> None:
    """As one that is damaged: its branch has one, and nobody can read it."""
    fleet.git("checkout", "-q", "-b", "side")
    lock(fleet, project, "theirs")
    blob = fleet.git("rev-parse", "HEAD:model_artifacts/fleet.lock")
    fleet.git("checkout", "-q", "main")
    (fleet.root / ".git/objects" / blob[:2] / blob[2:]).unlink()
    said = fleetctl("artifacts", "prune", "--yes")

    assert (70, True) == (said.status, stale.exists())
    assert "missing blob object" in said.err


def test_before_the_first_commit_the_files_here_count(
    fleet: GitFleet, fleetctl: Fleetctl, stale: Path
) -> None:
    """A repository that was just begun has no history that could need anything."""
    shutil.rmtree(fleet.root / ".git")
    fleet.git("init", "-q")

    assert (0, False) == (fleetctl("artifacts", "prune", "--yes").status, stale.exists())


def test_outside_of_git_the_lock_here_is_all_there_is(
    fleet: GitFleet, fleetctl: Fleetctl, stale: Path
) -> None:
    """What it names stays, and the rest goes."""
    shutil.rmtree(fleet.root / ".git")

    assert (0, False) == (fleetctl("artifacts", "prune", "--yes").status, stale.exists())
    assert 0 == fleetctl("build", "--check").status


@pytest.mark.parametrize("at_work", ["lock", "build.lock", "pull.lock", "playbook.lock"])
def test_whoever_is_at_work_is_not_disturbed(
    fleetctl: Fleetctl, project: Project, stale: Path, at_work: str
) -> None:
    """A rollout, also one that is paused, a build, a pull, or a playbook."""
    with Lock(project.state / at_work, "something", shared=at_work == "playbook.lock"):
        said = fleetctl("artifacts", "prune", "--yes")

    assert (50, True) == (said.status, stale.exists())


def test_rendering_leaves_nothing_to_remove(fleetctl: Fleetctl, project: Project, tmp_path: Path) -> None:
    """It may run beside anything, for it adds nothing to the store that could be taken from it."""
    before = {path.name for path in project.store.rglob("*")}
    said = fleetctl("render", "luxor-01", "--out", str(tmp_path / "release"))

    assert (0, before) == (said.status, {path.name for path in project.store.rglob("*")}), said.err


def test_a_store_behind_a_link_is_left_alone(fleetctl: Fleetctl, project: Project, stale: Path) -> None:
    """Other fleets may share it, and nobody here knows their locks."""
    elsewhere = project.store.rename(project.root.parent / "shared-store")
    project.store.symlink_to(elsewhere)
    said = fleetctl("artifacts", "prune", "--yes")

    assert (2, True) == (said.status, stale.exists())
    assert "store is a link to" in said.err


def test_what_builds_keep_goes_with_the_models_that_they_made(fleetctl: Fleetctl, project: Project) -> None:
    """The folder of a locked model stays, however old; that of another goes, and what was made in it."""
    (kept,) = (project.state / "build").iterdir()
    other, made = project.state / "build" / sha256(b"other recipe"), model(project, "other")
    other.mkdir()
    (other / "weights.keras").write_bytes(b"trained")
    (other / finished_file("toy")).write_bytes(canonical_json(lockfile.model_json(made)))
    fleetctl("artifacts", "prune", "--yes")
    young = (other.exists(), are_there(blobs(project, made)))
    aged(kept)
    aged(other)
    fleetctl("artifacts", "prune", "--yes")

    assert (True, True) == young
    assert (True, False, False) == (kept.exists(), other.exists(), are_there(blobs(project, made)))


def test_deltas_go_with_what_they_are_between(fleet: GitFleet, fleetctl: Fleetctl, project: Project) -> None:
    """That from the lock before to today's stays; one from a blob that goes does not."""
    before, today = lock(fleet, project, "before"), lock(fleet, project, "today")
    lost = model(project, "lost")
    folder = project.store / "deltas"
    folder.mkdir()
    names = [min(paths).name for paths in (before, today, blobs(project, lost))]
    useful, useless = folder / f"{names[1]}.{names[0]}", folder / f"{names[1]}.{names[2]}"
    useful.write_bytes(b"patch")
    useless.write_bytes(b"patch")
    aged(folder)
    fleetctl("artifacts", "prune", "--yes")

    assert (True, False) == (useful.exists(), useless.exists())


def test_what_broke_off_long_ago_goes(fleetctl: Fleetctl, project: Project) -> None:
    """Downloads, layers of images, and files of writes that were killed."""
    name = sha256(b"any")
    paths = [
        project.state / "downloads" / f"{name}.part",
        project.state / "images" / "blobs" / "sha256" / name,
        project.store / "sha256" / f".{name}.ab_12cd3",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"part")
        aged(path)
    fleetctl("artifacts", "prune", "--yes")

    assert [False] * 3 == [path.exists() for path in paths]
