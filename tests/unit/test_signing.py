"""Keys from the environment, what is signed with them, and which boards would not listen."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from another_user import as_another_user, nobody
from msgspec.structs import replace
from signatures import KEY, OTHER_KEY, STRANGER

from fleetctl.children import SIGNING_KEY, SIGNING_PASSPHRASE
from fleetctl.errors import SigningError, UsageError
from fleetctl.manifest.loader import load
from fleetctl.observation import Observed
from fleetctl.project import Project
from fleetctl.revision import serial_of
from fleetctl.signing.keys import key_from, verifies
from fleetctl.signing.signing import BoardTrust, Signing, open_signing
from fleetctl.signing.trusted_keys import add_trusted_key, trusted_keys

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models: {toy: {task: classification, dataset: {kind: rendered}}}
boards: {luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1}}
rollout: {signing: required}
"""
SIGNING = Signing("unas", "c0ffee", 10, {"release": KEY.public}, KEY)
TRUST = BoardTrust("unas", "luxor-01", (KEY.public.fingerprint,), 10)
SEEN = Observed("luxor-01", current="a" * 64, good="a" * 64, trust=TRUST)
NEW = "b" * 64


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fleet in git, two commits old, that demands signatures of one key."""
    made = Project(tmp_path / "fleet" / "inventory" / "fleet.yaml")
    made.inventory.mkdir(parents=True)
    made.manifest.write_text(MANIFEST)
    git(made.root, "init", "--quiet", "--initial-branch=main")
    commit(made.root, "Start")
    add_trusted_key(made.trust, "release", KEY.public)
    commit(made.root, "Trust a key")
    return made


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@fleet.invalid", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)


def commit(root: Path, message: str) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)


def opened(project: Project, pem: str | None = KEY.to_pem("").decode()) -> Signing:
    environment = {} if pem is None else {SIGNING_KEY: pem}
    signing = open_signing(project, load(project.manifest), environment)
    assert signing is not None
    return signing


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
@pytest.mark.parametrize("by_path", [True, False])
def test_a_key_comes_from_the_environment(tmp_path: Path, passphrase: str, by_path: bool) -> None:
    """As a path or as the PEM itself, encrypted or not; and its signature is one."""
    pem = KEY.to_pem(passphrase)
    (tmp_path / "key.pem").write_bytes(pem)
    said = str(tmp_path / "key.pem") if by_path else pem.decode()
    key = key_from({SIGNING_KEY: said, SIGNING_PASSPHRASE: passphrase})

    assert key is not None
    assert verifies(KEY.public, b"words", key.sign(b"words"))
    assert not verifies(KEY.public, b"other words", key.sign(b"words"))
    assert not verifies(OTHER_KEY.public, b"words", key.sign(b"words"))


OTHER_CURVE = """\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----
"""
SECRET = "c29tZSBzZWNyZXQ="
BROKEN = {
    "no PEM at all": ({SIGNING_KEY: SECRET}, "cannot be read"),
    "an empty PEM": (
        {SIGNING_KEY: f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"},
        "no private key",
    ),
    "a public key": ({SIGNING_KEY: KEY.public.pem}, "no private key"),
    "a home of nobody": ({SIGNING_KEY: "~nobody-of-that-name/release.pem"}, "cannot be read"),
    "bytes that are no text": (
        {SIGNING_KEY: f"-----BEGIN PRIVATE KEY-----\n{SECRET}\udcff"},
        f"{SIGNING_KEY} is not UTF-8",
    ),
    "another curve": ({SIGNING_KEY: OTHER_CURVE}, "not on the curve P-256"),
    "no passphrase": ({SIGNING_KEY: KEY.to_pem("x").decode()}, "needs a passphrase"),
    "a wrong passphrase": (
        {SIGNING_KEY: KEY.to_pem("x").decode(), SIGNING_PASSPHRASE: SECRET},
        "passphrase",
    ),
    "a needless passphrase": (
        {SIGNING_KEY: KEY.to_pem("").decode(), SIGNING_PASSPHRASE: SECRET},
        "needs no passphrase",
    ),
}


@pytest.mark.parametrize(("environment", "says"), BROKEN.values(), ids=BROKEN)
def test_a_key_that_cannot_be_used_is_explained_and_never_repeated(
    environment: dict[str, str], says: str
) -> None:
    """What is wrong and what to do, without a character of what the variables hold."""
    with pytest.raises(SigningError) as refused:
        key_from(environment)

    assert says in refused.value.message
    assert refused.value.hint
    assert SECRET not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    ("passphrase", "says"), [("x" * 1024, "longer than 1023 bytes"), ("\udcff", "not UTF-8")]
)
def test_a_passphrase_that_protects_no_key_is_explained(passphrase: str, says: str) -> None:
    """Nothing encrypts with it, which is said before a pair is made."""
    with pytest.raises(SigningError, match=says) as refused:
        KEY.to_pem(passphrase)

    assert passphrase not in refused.value.message


def test_a_key_shows_nothing_of_itself() -> None:
    """A traceback or a log that shows the object shows its public half."""
    body = "".join(KEY.to_pem("").decode().splitlines()[1:-1])

    assert not [part for part in (body[i : i + 8] for i in range(36, len(body) - 8, 8)) if part in repr(KEY)]


def test_what_is_signed_says_everything(project: Project) -> None:
    """Fleet, board, release, commit and its place in history, in the order of canonical JSON."""
    signed = opened(project).sign("luxor-01", NEW)
    said = json.loads(signed.statement)

    assert verifies(KEY.public, signed.statement.encode(), base64.b64decode(signed.signature))
    assert (said["fleet"], said["board"], said["release"], said["serial"]) == ("unas", "luxor-01", NEW, 2)
    assert said["back_from"] is None
    assert list(said) == sorted(said)


def test_the_place_in_history_grows_along_first_parents(project: Project) -> None:
    """A merge is one step, however much it brings; a clone that was cut short does not count."""
    root = project.root
    git(root, "checkout", "--quiet", "-b", "work")
    for number in range(3):
        commit(root, f"Work {number}")
    git(root, "checkout", "--quiet", "main")
    git(root, "merge", "--quiet", "--no-ff", "--no-edit", "work")
    git(root.parent, "clone", "--quiet", "--depth", "1", f"file://{root}", "cut-short")

    assert serial_of(root) == 3
    assert serial_of(root.parent / "cut-short") is None
    assert serial_of(root.parent) is None


def test_a_fleet_that_does_not_ask_for_it_is_not_signed(project: Project) -> None:
    """The manifest decides, not what happens to be in the environment."""
    project.manifest.write_text(MANIFEST.replace("required", "none"))

    assert open_signing(project, load(project.manifest), {SIGNING_KEY: "nonsense"}) is None


def test_without_a_key_there_is_a_plan_and_nothing_is_signed(project: Project) -> None:
    """Pull requests are planned where no key should be; signing is refused, and says what to set."""
    signing = opened(project, None)

    assert signing.bar(replace(SEEN, trust=replace(TRUST, serial=1)), NEW) is None
    with pytest.raises(SigningError, match="no key to sign with") as refused:
        signing.sign("luxor-01", NEW)
    assert SIGNING_KEY in refused.value.hint


def test_a_plan_without_a_history_calls_nothing_older() -> None:
    """A pull request that was checked out without its history is planned as well as can be."""
    unknown = replace(SIGNING, serial=0, key=None, refusal=SigningError("cut short"))

    assert unknown.bar(SEEN, NEW) is None


def test_what_is_not_in_git_is_not_signed(project: Project) -> None:
    """Neither an edit that is not committed, nor a history that is not there."""
    project.manifest.write_text(MANIFEST + "# edited\n")
    with pytest.raises(SigningError, match="differs from git"):
        opened(project).require_key()
    commit(project.root, "Edit")
    opened(project).require_key()
    git(project.root.parent, "clone", "--quiet", "--depth", "1", f"file://{project.root}", "cut-short")
    cut = Project(project.root.parent / "cut-short" / "inventory" / "fleet.yaml")
    with pytest.raises(SigningError, match="cut short"):
        opened(cut).require_key()
    (project.root / ".git").rename(project.root / "git")
    with pytest.raises(SigningError, match="only what is in git"):
        opened(project).require_key()


def test_a_key_that_git_does_not_know_signs_nothing(project: Project) -> None:
    """A stranger's key, and a fleet without any public key, are refused by name before anything is asked."""
    with pytest.raises(SigningError, match=r"none of those in inventory/trust \(release\)"):
        opened(project, STRANGER.to_pem("").decode())
    (project.trust / "release.pem").unlink()
    with pytest.raises(SigningError, match="holds no public key"):
        opened(project)
    (project.trust / "release.pem").write_text("no key")
    with pytest.raises(SigningError, match=r"inventory/trust/release\.pem is not a public key"):
        opened(project)


def test_a_private_key_among_those_to_trust_is_called_one(project: Project) -> None:
    """Whoever committed it has to know that it is no secret any more; nothing of it is repeated."""
    pem = OTHER_KEY.to_pem("").decode()
    (project.trust / "oops.pem").write_text(pem)
    with pytest.raises(SigningError, match=r"inventory/trust/oops\.pem is a private key") as refused:
        trusted_keys(project.trust)

    assert "once git has it, it is known" in refused.value.hint
    assert pem.splitlines()[1] not in f"{refused.value.message} {refused.value.hint}"


@as_another_user
def test_keys_that_may_not_be_listed_are_not_taken_for_none(tmp_path: Path) -> None:
    """Else a board would be prepared to trust nobody, and take anything."""
    (tmp_path / "trust").mkdir(mode=0)
    with nobody(tmp_path), pytest.raises(SigningError, match="inventory/trust cannot be read: Permission"):
        trusted_keys(tmp_path / "trust")

    (tmp_path / "trust").chmod(0o755)


def test_keys_keep_their_names(project: Project) -> None:
    """A name is good as a file's, and is never taken twice."""
    add_trusted_key(project.trust, "next", OTHER_KEY.public)

    assert {"next": OTHER_KEY.public, "release": KEY.public} == trusted_keys(project.trust)
    for name in ("next", "../next", "Next", ""):
        with pytest.raises(UsageError):
            add_trusted_key(project.trust, name, STRANGER.public)


BARS = {
    "nothing": (TRUST, ""),
    "trusts nobody": (None, ""),
    "older": (replace(TRUST, serial=9), ""),
    "newer": (replace(TRUST, serial=11), "has confirmed number 11 of the history, this commit is number 10"),
    "never had a signed one": (replace(TRUST, serial=None), ""),
    "another key": (replace(TRUST, keys=(STRANGER.public.fingerprint,)), "does not trust the key that signs"),
    "no key": (replace(TRUST, keys=()), "does not trust the key that signs"),
    "another board": (replace(TRUST, board="luxor-02"), "takes itself for luxor-02 of the fleet unas"),
    "another fleet": (replace(TRUST, fleet=""), "takes itself for luxor-01 of the fleet of nobody"),
}


@pytest.mark.parametrize(("trust", "why"), BARS.values(), ids=BARS)
def test_a_board_that_would_refuse_is_found_out_beforehand(trust: BoardTrust | None, why: str) -> None:
    """By what it says of itself, before anything is sent; with what to do."""
    bar = SIGNING.bar(replace(SEEN, trust=trust), NEW)

    assert (bar.why if bar else "") == why
    assert bar is None or bar.fix


def test_going_back_is_signed_only_when_asked_for() -> None:
    """With --back a board that is ahead may go back from where it stands; one that is not needs no leave."""
    ahead = replace(SEEN, trust=replace(TRUST, serial=12))
    back = replace(SIGNING, back=True)

    assert back.bar(ahead, NEW) is None
    assert [12, None, None] == [
        json.loads(signed.statement)["back_from"]
        for signed in (back.order(ahead, NEW), back.order(SEEN, NEW), SIGNING.order(SEEN, NEW))
    ]
    assert json.loads(SIGNING.permission(ahead, NEW).statement)["back_from"] == 12
    assert json.loads(SIGNING.permission(SEEN, NEW).statement)["back_from"] == 10


def test_proving_again_what_is_good_is_never_older() -> None:
    """A board whose service fell over is helped whatever it confirmed since."""
    ahead = replace(SEEN, trust=replace(TRUST, serial=12))

    assert SIGNING.bar(ahead, "a" * 64) is None


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "x",
        {"keys": "x"},
        {"keys": [1, None, "z" * 64]},
        {"serial": -1},
        {"serial": True},
        {"serial": 1e3},
    ],
)
def test_what_a_board_says_of_its_trust_is_not_taken_on_trust(said: object) -> None:
    """Nonsense is no trust, or trust in no key and nothing confirmed; never an error."""
    trust = Observed.parse("luxor-01", {"trust": said}).trust

    assert trust is None or (trust.keys, trust.serial) == ((), None)
