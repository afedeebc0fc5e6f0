"""Git as the source: an exact commit is rolled out, and what git does not know is not overwritten."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet, faults

from fleetctl.commits import Commits
from fleetctl.errors import UsageError
from fleetctl.project import Project


def commits_on_boards(fleetctl: Fleetctl) -> dict[str, str]:
    return {board["board"]: board["commit"] for board in fleetctl("status", "-o", "json").json["boards"]}


def test_a_commit_is_rolled_out_exactly(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """What lies in the working tree has no part in it, and receipts carry the commit."""
    first = fleet.head
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    fleet.commit("Later")
    fleet.push()
    said = fleetctl("rollout", "--yes", "--commit", first)

    assert 0 == said.status, said.err
    assert {first} == set(commits_on_boards(fleetctl).values())
    fleet.git("checkout", "-q", first)
    assert 0 == fleetctl("plan").status


def test_a_dirty_tree_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Whoever edited a file and rolls out a commit may think the edit goes out: exit 31 unless told."""
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    refused = fleetctl("rollout", "--yes", "--commit", "HEAD")
    allowed = fleetctl("rollout", "--yes", "--commit", "HEAD", "--allow-dirty")

    assert 31 == refused.status
    assert "files here differ from git: inventory/fleet.yaml; nothing was changed" in refused.err
    assert 0 == allowed.status
    assert {fleet.head} == set(commits_on_boards(fleetctl).values())


def test_receipts_name_the_commit_that_was_read(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that is made while somebody thinks about the plan is not what boards are brought to."""
    first = fleet.head

    def think(*_: object) -> None:
        fleet.edit("{threshold: 0.6}}", "{threshold: 0.7}}")
        fleet.commit("Meanwhile")

    monkeypatch.setattr("fleetctl.cli.agreed.ask", think)
    assert 0 == fleetctl("rollout").status

    assert {first} == set(commits_on_boards(fleetctl).values())


def test_an_unpushed_commit_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """A commit that only this machine has says nothing to anybody else: exit 31 unless told."""
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    commit = fleet.commit("Mine alone")
    refused = fleetctl("rollout", "--yes", "--commit", commit)
    fleet.push()

    assert 31 == refused.status
    assert f"no remote has commit {commit[:12]}" in refused.err
    assert 0 == fleetctl("rollout", "--yes", "--commit", commit).status


def test_a_stale_lock_of_a_commit_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Photos count too: the commit is read whole, so its lock is held against its own data."""
    (fleet.root / "inventory" / "photos" / "000009_G17.png").write_bytes(b"another photo")
    commit = fleet.commit("More photos")
    fleet.push()

    assert 11 == fleetctl("rollout", "--yes", "--commit", commit).status


def test_problems_of_a_commit_have_the_paths_of_the_repository(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """The folder that the commit is read into is nobody's business."""
    fleet.edit("kind: Fleet\n", "kind: Fleet\nmodle: 1\n")
    commit = fleet.commit("Typing mistake")
    fleet.push()
    said = fleetctl("rollout", "--yes", "--commit", commit)

    assert 10 == said.status
    assert said.err.startswith("inventory/fleet.yaml:3:1: modle: unknown key")


def test_an_unsigned_commit_is_refused_where_signatures_are_asked_for(
    fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--signed` takes what git verifies, by the keys that git was told to trust, and nothing else."""
    key = signing_key(tmp_path)
    (tmp_path / "signers").write_text(f"ankh@fleet.invalid {key.with_suffix('.pub').read_text()}")
    fleet.git("config", "gpg.format", "ssh")
    fleet.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))
    unsigned = fleetctl("rollout", "--yes", "--commit", "HEAD", "--signed")
    monkeypatch.setenv(
        "FLEETCTL_REQUIRE_SIGNED_COMMIT", ""
    )  # as a workflow sets it whose variable is not set
    unasked = fleetctl("rollout", "--yes", "--commit", "HEAD")
    fleet.git("-c", f"user.signingkey={key}", "commit", "-q", "-S", "--allow-empty", "-m", "Signed")
    fleet.push()
    signed = fleetctl("rollout", "--yes", "--commit", "HEAD", "--signed")

    assert 31 == unsigned.status
    assert "has no signature that git trusts" in unsigned.err
    assert 0 == unasked.status
    assert 0 == signed.status, signed.err


@pytest.mark.parametrize("line", ["plan --base HEAD", "rollout --yes --commit HEAD"])
def test_why_git_reads_nothing_is_told(
    fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """In a container that mounts somebody's checkout, no commit is missing: git does not trust the folder."""
    fleetctl("rollout", "--yes", "--commit", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    foreign = fleetctl(*line.split())
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    shutil.rmtree(".git")
    missing = fleetctl(*line.split())
    subprocess.run(["git", "init", "-q"], check=True)
    fresh = fleetctl(*line.split())
    monkeypatch.setenv("PATH", str(Path.cwd()))
    without = fleetctl(*line.split())

    assert {2} == {said.status for said in (foreign, missing, fresh, without)}
    assert f"error: git does not read {Path.cwd()}: it belongs to somebody else" in foreign.err
    assert f"`git config --global --add safe.directory {Path.cwd()}`" in foreign.err
    assert "no git repository" in missing.err
    assert "hint: there is none yet: `git add --all` and `git commit` begin" in fresh.err
    assert "error: git is not installed\nhint: install it" in without.err


def test_a_rollback_to_what_git_does_not_know_says_why(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """A repository that is out of reach, as a worktree's may be, is not said to be none."""
    fleetctl("rollout", "--yes")
    unknown = fleetctl("rollback", "--yes", "--to", "yesterday")
    shutil.rmtree(fleet.root / ".git")
    (fleet.root / ".git").write_text("gitdir: /nowhere\n")
    unread = fleetctl("rollback", "--yes", "--to", "HEAD")

    assert (2, 2) == (unknown.status, unread.status)
    know = "is not the start of a digest that these boards know, and git"
    assert f"'yesterday' {know} knows no commit 'yesterday' here\nhint: `fleetctl history`" in unknown.err
    assert f"'HEAD' {know} does not read {fleet.root / '.git'}: fatal: " in unread.err


def test_a_damaged_commit_is_not_taken_for_none(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Whoever has a history is not told to begin one."""
    commit = fleet.root / ".git" / "objects" / fleet.head[:2] / fleet.head[2:]
    commit.unlink()
    commit.write_text("damaged")
    said = fleetctl("plan", "--base", "HEAD")

    assert (2, True) == (said.status, "hint: `git fsck` says whether it is whole" in said.err)


def test_a_repository_that_git_does_not_read_is_not_taken_for_none(
    fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Receipts would name no commit, and whether boards lose a newer release could not be told."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    foreign = fleetctl("rollout", "--yes")
    monkeypatch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER")
    shutil.rmtree(".git")
    none = fleetctl("rollout", "--yes")

    assert (2, 0) == (foreign.status, none.status), none.err
    assert f"`git config --global --add safe.directory {Path.cwd()}`" in foreign.err


def test_a_repository_that_is_not_all_here_is_not_taken_for_none(fleetctl: Fleetctl) -> None:
    """As a worktree or a submodule of which a container mounts the folder alone."""
    shutil.rmtree(".git")
    Path(".git").write_text("gitdir: /nowhere/.git/worktrees/fleet\n")
    away = fleetctl("rollout", "--yes")
    planned = fleetctl("plan", "--base", "HEAD")

    assert (2, 2) == (away.status, planned.status)
    assert f"error: git does not read {Path.cwd()}/.git: fatal: not a git repository: /nowhere" in away.err
    assert "`git init`" not in planned.err


@pytest.mark.parametrize("option", ["--signed", "--allow-dirty", "--allow-unpushed"])
def test_what_is_said_of_a_commit_needs_one(fleetctl: Fleetctl, option: str) -> None:
    """Else files that nobody signed would go out although a signature was asked for."""
    said = fleetctl("rollout", "--yes", option)

    assert 2 == said.status
    assert f"error: {option} is about a commit, and none is named" in said.err
    assert "--commit HEAD" in said.err


def test_a_signature_that_the_environment_asks_for_needs_a_commit(
    fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal says where the wish comes from."""
    monkeypatch.setenv("FLEETCTL_REQUIRE_SIGNED_COMMIT", "1")
    said = fleetctl("rollout", "--yes")

    assert 2 == said.status
    assert "FLEETCTL_REQUIRE_SIGNED_COMMIT" in said.err


def signing_key(folder: Path) -> Path:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


@pytest.mark.parametrize("form", ["ssh", "openpgp"])
def test_the_environment_may_say_whose_signatures_count(
    fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Those people's commits are taken, by ssh and by OpenPGP; what git itself was told does not count."""
    monkeypatch.setenv("FLEETCTL_REQUIRE_SIGNED_COMMIT", "1")
    monkeypatch.setenv("FLEETCTL_COMMIT_SIGNERS", _sign_head(fleet, tmp_path / "ours", form))
    taken = fleetctl("rollout", "--yes", "--commit", "HEAD")
    (tmp_path / "signers").write_text(_sign_head(fleet, tmp_path / "theirs", form))
    fleet.git("config", "gpg.ssh.allowedSignersFile", str(tmp_path / "signers"))
    refused = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert 0 == taken.status, taken.err
    assert 31 == refused.status
    assert "has no signature that git trusts" in refused.err


def _sign_head(fleet: GitFleet, folder: Path, form: str) -> str:
    """Make and push a commit that somebody signed; returns what says that they are trusted."""
    folder.mkdir(mode=0o700)
    if form == "ssh":
        key = signing_key(folder)
        sign = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={key}"]
        public = f"ankh@fleet.invalid {key.with_suffix('.pub').read_text()}"
        fleet.git(*sign, "commit", "-q", "-S", "--allow-empty", "-m", "Signed")
    else:
        # gpg's agent listens in this folder, and a socket's path must be short.
        with tempfile.TemporaryDirectory(prefix="gpg", dir="/tmp", ignore_cleanup_errors=True) as home:
            public = _pgp_key(Path(home))
            sign = ["-c", f"gpg.program={home}/gpg", "-c", "user.signingkey=ankh@fleet.invalid"]
            fleet.git(*sign, "commit", "-q", "-S", "--allow-empty", "-m", "Signed")
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True, capture_output=True)
    fleet.push()
    return public


def _pgp_key(folder: Path) -> str:
    """A key of OpenPGP in `folder`, and a `gpg` there that knows it; returns its public half."""
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(folder)]
    made = [*gpg, "--passphrase", "", "--quick-generate-key", "ankh@fleet.invalid", "ed25519", "sign"]
    subprocess.run(made, check=True, capture_output=True)
    program = folder / "gpg"
    program.write_text(f'#!/bin/sh\nexec gpg --homedir "{folder}" "$@"\n')
    program.chmod(0o700)
    exported = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, text=True)
    return exported.stdout


def test_a_signer_that_cannot_be_read_is_named(fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2, before anything is asked of a board."""
    broken = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nnothing\n-----END PGP PUBLIC KEY BLOCK-----\n"
    monkeypatch.setenv("FLEETCTL_COMMIT_SIGNERS", broken)
    said = fleetctl("rollout", "--yes", "--commit", "HEAD", "--signed")

    assert 2 == said.status
    assert "FLEETCTL_COMMIT_SIGNERS holds a public key that gpg cannot read" in said.err


def elsewhere(fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch) -> str:
    """Somebody else's repository brings a release to the same boards."""
    fleetctl("rollout", "--yes")
    other = fleet.root.parent / "other"
    shutil.copytree(fleet.root, other)
    monkeypatch.chdir(other)
    theirs = GitFleet(other)
    theirs.edit("threshold: 0.6", "threshold: 0.1")
    commit = theirs.commit("Somebody else's idea")
    assert 0 == fleetctl("rollout", "--yes").status
    shutil.rmtree(fleet.root / ".fleetctl" / "fake")
    shutil.copytree(other / ".fleetctl" / "fake", fleet.root / ".fleetctl" / "fake")
    monkeypatch.chdir(fleet.root)
    return commit


def test_a_release_unknown_to_git_is_not_overwritten(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status and plan say whose it is; rollout leaves every board alone, until it is told to adopt."""
    commit = elsewhere(fleet, fleetctl, monkeypatch)
    status, planned = fleetctl("status"), fleetctl("plan")
    refused = fleetctl("rollout", "--yes")

    why = f"this repository has no commit {commit[:12]}"
    assert f"git does not know its release: {why}" in status.out
    assert f"runs a release that git does not know: {why}" in planned.out
    assert "say --adopt to overwrite it" in planned.out
    assert (31, 31) == (planned.status, refused.status)
    assert 0 == fleetctl("rollout", "--yes", "--adopt").status
    assert 0 == fleetctl("plan").status


def test_uncommitted_edits_are_not_overwritten_by_a_commit(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Somebody tried something on the boards; it may follow itself, but a clean checkout asks first."""
    for old, new in (("0.6", "0.7"), ("0.7", "0.8")):
        fleet.edit(f"threshold: {old}", f"threshold: {new}")
        assert 0 == fleetctl("rollout", "--yes").status
    fleet.git("checkout", "-q", "--", "inventory")
    said = fleetctl("rollout", "--yes")

    assert 31 == said.status
    assert f"it was rolled out from uncommitted edits of {fleet.head[:12]}" in said.err


def test_the_same_release_is_no_stranger(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once git says what the boards run, nothing is overwritten and nobody is asked."""
    elsewhere(fleet, fleetctl, monkeypatch)
    fleet.edit("threshold: 0.6", "threshold: 0.1")
    fleet.commit("The same idea")

    assert 0 == fleetctl("plan").status


def test_outside_git_there_are_no_strangers(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Without a repository nobody can know, and the first commit makes the difference."""
    shutil.rmtree(fleet.root / ".git")
    assert 0 == fleetctl("rollout", "--yes").status
    fleet.edit("threshold: 0.6", "threshold: 0.9")
    assert 0 == fleetctl("rollout", "--yes").status
    fleet.git("init", "-q")
    fleet.edit("threshold: 0.9", "threshold: 0.8")
    fleet.commit("Begin")

    assert "it was rolled out from outside any repository" in fleetctl("rollout", "--yes").err


def test_boards_go_back_to_a_commit(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """By receipts and history alone each board goes to what it ran as of that commit."""
    first = fleet.head
    fleetctl("rollout", "--yes")
    before = {b["board"]: b["loaded"] for b in fleetctl("status", "-o", "json").json["boards"]}
    fleet.edit("threshold: 0.6", "threshold: 0.7")
    second = fleet.commit("Karnak asks for more")
    fleetctl("rollout", "--yes")
    fleet.commit("Nothing for boards")
    fleet.edit("metadata", "defaults: {config: {threshold: 0.2}}\nmetadata")
    fleet.commit("All ask for less")
    fleetctl("rollout", "--yes")
    back = fleetctl("rollback", "--yes", "--to", "HEAD~1")
    as_of_second = {b["board"]: b["commit"] for b in fleetctl("status", "-o", "json").json["boards"]}
    further = fleetctl("rollback", "--yes", "--to", first[:10])
    after = {b["board"]: b["loaded"] for b in fleetctl("status", "-o", "json").json["boards"]}

    assert (0, 0) == (back.status, further.status), back.err + further.err
    assert {"luxor-01": first, "luxor-02": first, "karnak-01": second} == as_of_second
    assert "luxor-01 runs what it ran as of" in further.err
    assert before == after


def test_going_back_before_the_first_receipt_is_refused(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """A board that ran nothing then is named, and nothing is changed."""
    first = fleet.head
    fleet.commit("Later")
    fleetctl("rollout", "--yes")
    said = fleetctl("rollback", "--yes", "--to", first)

    assert 2 == said.status
    assert f"luxor-01 has no receipt of anything from commit {first[:12]} or before, nor has " in said.err
    assert "`!luxor-01,!luxor-02,!karnak-01` in --on" in said.err


def test_boards_that_are_away_are_named_together_before_others_go_back(
    fleet: GitFleet, fleetctl: Fleetctl
) -> None:
    """One look says what to leave out, and what is named can be given to --on as it stands."""
    first = fleet.head
    fleetctl("rollout", "--yes")
    fleet.edit("metadata", "defaults: {config: {threshold: 0.2}}\nmetadata")
    fleet.commit("All ask for less")
    fleetctl("rollout", "--yes")
    away = faults(karnak_01="{unreachable: true}", luxor_02="{unreachable: true}")
    said = fleetctl("rollback", "--yes", "--to", first, "--faults", away)
    rest = fleetctl("rollback", "--yes", "--to", first, "--faults", away, "--on", "!luxor-02,!karnak-01")

    assert (30, 0) == (said.status, rest.status), said.err + rest.err
    assert "`!luxor-02,!karnak-01` in --on" in said.err
    assert "luxor-01: rolled back" in rest.err


def test_what_git_holds_is_written_as_it_lies_there(fleet: GitFleet, tmp_path: Path) -> None:
    """Attributes of the repository cannot hide a file from the plan or change it; links stay links."""
    (fleet.root / "inventory" / "templates").mkdir()
    (fleet.root / "inventory" / "templates" / "x.j2").write_text("$Format:%H$\r\n")
    (fleet.root / "inventory" / "link").symlink_to("/etc/passwd")
    (fleet.root / ".gitattributes").write_text("*.j2 export-ignore export-subst text eol=lf\n")
    fleet.git("add", "-A")
    fleet.git("-c", "core.autocrlf=false", "commit", "-q", "-m", "Hide")
    Commits(Project(fleet.manifest)).write_out("HEAD", tmp_path / "out", ["inventory"])
    written = tmp_path / "out" / "inventory"

    assert b"$Format:%H$\n" == (written / "templates" / "x.j2").read_bytes()
    assert (written / "link").is_symlink()
    assert not (tmp_path / "out" / "model_artifacts").exists()


@pytest.mark.parametrize("where", [".", "/"])
def test_problems_of_a_commit_are_named_where_they_lie_in_the_repository(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Of its manifest and templates alike, wherever this runs: what it was read from is gone by then."""
    template = fleet.root / "inventory" / "templates" / "x.conf.j2"
    template.parent.mkdir()
    template.write_text("{{ nothing }}\n")
    of_template = fleet.commit("A bad template")
    fleet.edit("min_accuracy: 0.5", "min_accuracy: 5")
    of_manifest = fleet.commit("A bad manifest")
    fleet.edit("kind: Fleet\n", "kind: Fleet\ninclude: [fleet.yaml]\n")
    of_include = fleet.commit("A bad include")
    monkeypatch.chdir(where)
    line = ["rollout", "-f", str(fleet.manifest), "--yes", "--allow-unpushed", "--commit"]
    said = [fleetctl(*line, commit) for commit in (of_template, of_manifest, of_include)]

    assert [10, 10, 10] == [each.status for each in said]
    assert said[0].err.startswith("inventory/templates/x.conf.j2:1: `nothing` is not known")
    assert said[1].err.startswith("inventory/fleet.yaml:9:")
    assert said[2].err.startswith("inventory/fleet.yaml:3:11: include[0]: `inventory/fleet.yaml` includes")


@pytest.mark.parametrize("rev", ["", "nowhere", "--all", "HEAD:inventory", "a\0b", "HEAD^{tree}"])
def test_only_a_commit_is_a_commit(fleet: GitFleet, rev: str) -> None:
    """A file, a tree, an option of git or nothing at all is exit 2."""
    with pytest.raises(UsageError):
        Commits(Project(fleet.manifest)).resolve(rev)


def test_a_fleet_may_lie_in_a_folder_of_its_repository(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths of a commit are those below the fleet's own folder, wherever in the repository that is."""
    inner = fleet.root / "fleets" / "unas"
    inner.mkdir(parents=True)
    for part in ("inventory", "model_artifacts"):
        (fleet.root / part).rename(inner / part)
    (fleet.root / ".gitignore").write_text("store/\n.fleetctl/\n")
    fleet.commit("Make room for more fleets")
    fleet.push()
    monkeypatch.chdir(inner)

    assert 0 == fleetctl("plan", "--base", "HEAD").status
    assert 0 == fleetctl("rollout", "--yes", "--commit", "HEAD").status
    assert {fleet.head} == set(commits_on_boards(fleetctl).values())


def test_the_way_since_a_commit_is_what_changed_the_fleet(fleet: GitFleet) -> None:
    """The oldest first; a merge is one step, and what the fleet does not hang on is none."""
    began = fleet.head
    (fleet.root / "README.md").write_text("About us")
    fleet.commit("Tell about us")
    fleet.git("checkout", "-q", "-b", "branch")
    for before, after in (("0.6", "0.7"), ("0.7", "0.8")):
        fleet.edit(f"threshold: {before}", f"threshold: {after}")
        fleet.commit(f"Ask for {after}")
    fleet.git("checkout", "-q", "main")
    fleet.git("merge", "-q", "--no-ff", "-m", "Merge", "branch")
    merge = fleet.head
    fleet.edit("threshold: 0.8", "threshold: 0.9")
    last = fleet.commit("Ask for 0.9")
    commits = Commits(Project(fleet.manifest))

    assert [merge, last] == commits.since(began)
    assert [] == commits.since(last)
