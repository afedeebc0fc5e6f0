"""Artifacts between machines: the same digests everywhere, only what is missing moves, all is checked."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry import Flaky, running_registry, serving
from werkzeug.wrappers import Request, Response

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.errors import BuildError, UsageError
from fleetctl.remotes import transfer
from fleetctl.remotes.base import BlobMissing, Remote, RemoteError, RemoteRefused
from fleetctl.remotes.folder import FolderRemote
from fleetctl.remotes.oci import MANIFEST_TYPE, Manifest, OciRemote, tag
from fleetctl.remotes.places import demand_writable, open_remote
from fleetctl.store import BlobStore

# bcrypt of "papyrus", cost 4
HTPASSWD = "ankh:$2y$04$DhORLeuk/OI36HSvv3OHsuNs9KF470CeLuSMkDIqnwrH2fAgqeReW\n"


def artifact(store: BlobStore, size: int = 9_000_001) -> Artifact:
    """A model of several upload chunks, with its small neighbours."""
    files = {
        "model.tflite": bytes(range(251)) * (size // 251),
        "contract.json": b"{}\n",
        "golden.npy": b"g" * 99,
    }
    refs = {name: BlobRef(store.put(data), len(data)) for name, data in files.items()}
    return Artifact("toy", "int8", refs)


@pytest.fixture
def here(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "there")


@pytest.fixture(params=["folder", "oci"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    if request.param == "folder":
        yield FolderRemote(tmp_path / "shared")
        return
    with running_registry(tmp_path / "registry") as address:
        yield OciRemote(f"oci://{address}/temples/models")


def push(found: Artifact, store: BlobStore, remote: Remote) -> list[transfer.Transfer]:
    return list(transfer.push([found], store, remote, lambda _: None, {}))


def pull(found: Artifact, store: BlobStore, remote: Remote, parts: Path) -> list[transfer.Transfer]:
    return list(transfer.pull([found], store, remote, parts, lambda _: None))


def test_what_is_pushed_is_pulled(remote: Remote, here: BlobStore, there: BlobStore, tmp_path: Path) -> None:
    """Another machine gets the very bytes; a second push and a second pull move nothing."""
    made = artifact(here)
    first, again = push(made, here, remote), push(made, here, remote)
    pulled = pull(made, there, remote, tmp_path / "parts")

    assert set(made.files) == set(first[0].moved) == set(pulled[0].moved)
    assert sum(ref.size for ref in made.files.values()) == pulled[0].moved_bytes
    assert () == again[0].moved == pull(made, there, remote, tmp_path / "parts")[0].moved
    assert all(there.get(ref.sha256) == here.get(ref.sha256) for ref in made.files.values())
    assert [] == transfer.missing([made], remote)
    assert [] == list((tmp_path / "parts").iterdir())


def test_what_nobody_pushed_is_said(
    remote: Remote, here: BlobStore, there: BlobStore, tmp_path: Path
) -> None:
    """`missing` names every file; pulling stops with the blob and what to do."""
    made = artifact(here, 1000)

    assert [(made, list(made.files))] == transfer.missing([made], remote)
    with pytest.raises(BlobMissing, match="has no blob"):
        pull(made, there, remote, tmp_path / "parts")


def test_an_altered_blob_is_not_pushed(remote: Remote, here: BlobStore) -> None:
    """What is broken here stays here: the remote is not asked to keep a byte."""
    made = artifact(here, 1000)
    path = here.path(made.files["model.tflite"].sha256)
    path.chmod(0o644)
    path.write_bytes(b"altered")

    with pytest.raises(BuildError, match="was altered"):
        push(made, here, remote)
    assert 3 == len(transfer.missing([made], remote)[0][1])


def test_a_broken_download_goes_on(remote: Remote, here: BlobStore, there: BlobStore, tmp_path: Path) -> None:
    """What lies in the parts folder is not fetched again."""
    made = artifact(here)
    push(made, here, remote)
    ref = made.files["model.tflite"]
    parts = tmp_path / "parts"
    parts.mkdir()
    part = parts / f"{ref.sha256}.part"
    part.write_bytes(here.get(ref.sha256)[:8_000_000])
    counted: list[int] = []
    list(transfer.pull([made], there, remote, parts, counted.append))

    assert sum(r.size for r in made.files.values()) - 8_000_000 == sum(counted)
    assert there.get(ref.sha256) == here.get(ref.sha256)


def test_a_part_that_lies_accuses_nobody(
    remote: Remote, here: BlobStore, there: BlobStore, tmp_path: Path
) -> None:
    """Where bytes turn out wrong that a run before left behind, the place is asked once more for all."""
    made = artifact(here, 1000)
    push(made, here, remote)
    ref = made.files["model.tflite"]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{ref.sha256}.part").write_bytes(b"another file's beginning")

    assert set(made.files) == set(pull(made, there, remote, tmp_path / "parts")[0].moved)
    assert there.get(ref.sha256) == here.get(ref.sha256)
    assert [] == list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize("begun", [0, 24])
def test_a_place_that_gives_other_bytes_is_accused(
    begun: int, here: BlobStore, there: BlobStore, tmp_path: Path
) -> None:
    """But only for what it gave from the first byte on; nothing of it is kept."""
    made = artifact(here, 1000)
    asked: list[int] = []

    class Tampered(FolderRemote):
        def read(self, ref: BlobRef, offset: int) -> Iterator[bytes]:
            asked.append(offset)
            yield bytes(ref.size - offset)

    ref = made.files["model.tflite"]
    part = tmp_path / "parts" / f"{ref.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(here.get(ref.sha256)[:begun])
    with pytest.raises(RemoteError, match="gives other bytes"):
        pull(made, there, Tampered(tmp_path / "shared"), part.parent)

    assert ([begun, 0] if begun else [0]) == asked
    assert not part.exists()


def test_a_damaged_blob_in_a_folder_is_pushed_again(
    here: BlobStore, there: BlobStore, tmp_path: Path
) -> None:
    """Its size tells nothing: `missing` names it, `push` mends it, and `pull` has the right bytes."""
    made, remote = artifact(here, 1000), FolderRemote(tmp_path / "shared")
    push(made, here, remote)
    damaged = tmp_path / "shared" / "sha256" / made.files["model.tflite"].sha256
    damaged.chmod(0o644)
    damaged.write_bytes(bytes(damaged.stat().st_size))

    assert [(made, ["model.tflite"])] == transfer.missing([made], remote)
    assert ("model.tflite",) == push(made, here, remote)[0].moved
    assert set(made.files) == set(pull(made, there, remote, tmp_path / "parts")[0].moved)


@pytest.mark.parametrize("name", ["file/shared", "n" * 300])
def test_a_folder_that_cannot_be_is_one_sentence(name: str, here: BlobStore, tmp_path: Path) -> None:
    """Exit 30, as of a registry that is away."""
    (tmp_path / "file").touch()
    remote = open_remote(str(tmp_path / name), {})
    with pytest.raises(RemoteError, match="cannot write") as refused:
        push(artifact(here, 1000), here, remote)

    assert 30 == refused.value.exit_code
    assert refused.value.hint


def test_the_registry_holds_an_artifact_by_its_digest(tmp_path: Path, here: BlobStore) -> None:
    """Any OCI client finds the artifact: its layers are our blobs under our digests, and a tag keeps them."""
    import requests

    made = artifact(here, 1000)
    with running_registry(tmp_path / "registry") as address:
        push(made, here, OciRemote(f"oci://{address}/models"))
        headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        url = f"http://{address}/v2/models/manifests/{tag(made)}"
        said = requests.get(url, headers=headers, timeout=10).json()

    assert {f"sha256:{ref.sha256}": ref.size for ref in made.files.values()} == {
        layer["digest"]: layer["size"] for layer in said["layers"]
    }
    assert made.digest == said["annotations"]["fleetctl.artifact"]


@pytest.mark.parametrize("immutable", [400, 403, 409, 412, 500])
def test_an_immutable_tag_keeps_what_it_names(immutable: int, here: BlobStore) -> None:
    """An artifact that is there already was pushed, be it from another commit; and its tag stays as it is."""
    made, flaky = artifact(here, 1000), Flaky(immutable)
    with serving(flaky) as address:
        remote = OciRemote(address, ("a", "b"), pause=lambda _: None)
        list(transfer.push([made], here, remote, lambda _: None, {"commit": "one"}))
        kept = dict(flaky.manifests)
        list(transfer.push([made], here, remote, lambda _: None, {"commit": "two"}))

    assert kept == flaky.manifests


@pytest.mark.parametrize("immutable", [400, 409, 412])
@pytest.mark.parametrize("other", [b'{"layers": []}', b"[" * 100_000, b"[1]"], ids=["other", "deep", "list"])
def test_an_immutable_tag_of_another_manifest_is_said(immutable: int, other: bytes, here: BlobStore) -> None:
    """With the tag, the digest that lies there, the registry's own words, and what to do."""
    made, flaky = artifact(here, 1000), Flaky(immutable)
    flaky.manifests = {tag(made): other}
    with serving(flaky) as address, pytest.raises(RemoteError, match="another manifest") as taken:
        push(made, here, OciRemote(address, ("a", "b"), pause=lambda _: None))

    assert f"under the tag {tag(made)}, and answers {immutable} " in taken.value.message
    assert taken.value.message.endswith(": tag is immutable")
    assert "delete that one" in taken.value.hint


def test_a_tag_that_somebody_else_gave_meanwhile(here: BlobStore) -> None:
    """Two machines push the same at once: whoever comes second finds it there."""
    made, flaky = artifact(here, 1000), Flaky()
    with serving(flaky) as address:
        remote = OciRemote(address, ("a", "b"), pause=lambda _: None)
        push(made, here, remote)
        (name, body), flaky.immutable = *flaky.manifests.items(), 412
        remote.put_manifest(name, Manifest(body, MANIFEST_TYPE))
        with pytest.raises(RemoteError, match="keeps another manifest"):
            remote.put_manifest(name, Manifest(b"{}", MANIFEST_TYPE))


def test_a_mutable_tag_of_another_manifest_is_given_anew(here: BlobStore) -> None:
    """The tag is the artifact's digest: what else lies there is nobody's."""
    made, flaky = artifact(here, 1000), Flaky()
    flaky.manifests = {tag(made): b"{}"}
    with serving(flaky) as address:
        push(made, here, OciRemote(address, ("a", "b"), pause=lambda _: None))

    assert made.digest.encode() in flaky.manifests[tag(made)]


def test_a_registry_lets_in_whom_it_knows(
    tmp_path: Path, here: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without credentials, or with wrong ones, it is a refusal that names the variables."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    made = artifact(here, 1000)
    with running_registry(tmp_path / "registry", HTPASSWD) as address:
        place = f"oci://{address}/models"
        for credentials in (None, ("ankh", "wrong")):
            with pytest.raises(RemoteRefused, match="refuses") as refused:
                push(made, here, OciRemote(place, credentials))
            assert "FLEETCTL_REGISTRY_PASSWORD" in refused.value.hint
        assert 3 == len(push(made, here, OciRemote(place, ("ankh", "papyrus")))[0].moved)


@pytest.mark.parametrize(
    ("faults", "waited"),
    [
        (["half"], []),
        (["busy", "busy"], [1.0]),  # once to the question how to log in, which is not repeated
        (["half", "busy", "half"], [1.0]),
    ],
)
def test_an_upload_goes_on_where_it_broke(faults: list[str], waited: list[float], here: BlobStore) -> None:
    """What the registry says has arrived is not sent again; a busy registry is asked again, after a while."""
    made = artifact(here, 5_000_000)
    flaky, waits = Flaky(), list[float]()
    flaky.faults = list(faults)
    with serving(flaky) as address:
        push(made, here, OciRemote(address, ("a", "b"), pause=waits.append))

    assert {ref.sha256 for ref in made.files.values()} <= set(flaky.blobs)
    assert [] == flaky.faults
    assert waited == waits


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [("busy", 1.0), ("slow", 1.0), ("often", 30.0), ("for ever", 60.0), ("till then", 1.0)],
)
def test_a_registry_is_left_alone_as_long_as_it_asks(fault: str, seconds: float, here: BlobStore) -> None:
    """By `Retry-After`, but no longer than a minute; a date counts for nothing."""
    flaky, waits = Flaky(), list[float]()
    made = artifact(here, 1000)
    with serving(flaky) as address:
        remote = OciRemote(address, ("a", "b"), pause=waits.append)
        remote.has(made.files["golden.npy"])
        flaky.faults = [fault]
        assert not remote.has(made.files["golden.npy"])

    assert [seconds] == waits


def test_a_blob_whose_arrival_nobody_was_told_is_there(here: BlobStore) -> None:
    """The answer to the last request was lost: that upload is over, and the blob is not sent again."""
    made = artifact(here, 1000)
    flaky = Flaky()
    flaky.faults = ["untold"]
    with serving(flaky) as address:
        push(made, here, OciRemote(address, ("a", "b"), pause=lambda _: None))

    assert {ref.sha256 for ref in made.files.values()} <= set(flaky.blobs)
    assert 1 + len(made.files) == sum(each.startswith("POST") for each in flaky.asked)


def test_an_upload_that_a_registry_lost_is_said(here: BlobStore) -> None:
    """Nothing is taken for kept that is not there."""
    made = artifact(here, 1000)

    class Forgetful(Flaky):
        def on_post(self, request: Request) -> Response:
            reply = super().on_post(request)
            self.ended = True
            return reply

    with serving(Forgetful()) as address, pytest.raises(RemoteError, match="lost what was sent of blob"):
        push(made, here, OciRemote(address, ("a", "b"), pause=lambda _: None))


def test_a_registry_without_ranges_is_read_from_the_start(
    here: BlobStore, there: BlobStore, tmp_path: Path
) -> None:
    """A part is kept, and what is already in it is skipped from the answer."""
    made = artifact(here)
    flaky = Flaky()
    flaky.blobs = {ref.sha256: here.get(ref.sha256) for ref in made.files.values()}
    ref = made.files["model.tflite"]
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / f"{ref.sha256}.part").write_bytes(here.get(ref.sha256)[:4_000_000])
    with serving(flaky) as address:
        pull(made, there, OciRemote(address, ("a", "b")), tmp_path / "parts")

    assert there.get(ref.sha256) == here.get(ref.sha256)


def test_a_registry_that_stays_away_is_one_sentence(here: BlobStore) -> None:
    """Nobody there: tried five times, then exit 30 and what to do."""
    made = artifact(here, 1000)
    waits: list[float] = []
    with pytest.raises(RemoteError, match="cannot be reached: ConnectionError") as away:
        push(made, here, OciRemote("oci://127.0.0.1:9/models", ("a", "b"), pause=waits.append))

    assert 30 == away.value.exit_code
    assert [1.0, 2.0, 4.0, 8.0] == waits


@pytest.mark.parametrize(
    "address",
    [
        "",
        "oci://",
        "oci://host",
        "oci://host/UPPER",
        "oci://host/a___b",
        "oci://host/a..b",
        "oci://u:p@host/x",
        "https://host/x",
        __file__,
    ],
)
def test_an_address_is_a_folder_or_a_registry(address: str) -> None:
    """Anything else is a usage error; a password has no place in an address."""
    with pytest.raises(UsageError):
        open_remote(address, {})


@pytest.mark.parametrize("repository", ["a--b", "a__b/c.d", "team/a---b_c"])
def test_a_repository_is_named_as_registries_allow(repository: str) -> None:
    """Also with two underscores, or several hyphens, between letters."""
    assert f"oci://host/{repository}" == open_remote(f"oci://host/{repository}", {}).name


def test_a_pull_request_only_reads(tmp_path: Path) -> None:
    """Where the environment says so, pushing is refused before anything is asked."""
    with pytest.raises(RemoteRefused, match="only read from here"):
        demand_writable(FolderRemote(tmp_path), {"FLEETCTL_ARTIFACTS_READ_ONLY": "1"})


def test_half_a_credential_is_a_mistake() -> None:
    """A user without a password, or the reverse, is said at once."""
    with pytest.raises(UsageError, match="go together"):
        open_remote("oci://host/x", {"FLEETCTL_REGISTRY_USER": "ankh"})
