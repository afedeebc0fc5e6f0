"""Bases of module images: found by name, looked into, and refused where no module could run on them."""

import bz2
import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from base_images import FILES, image, publish, rootfs
from registry import running_registry

from fleetctl.artifact import BlobRef
from fleetctl.errors import BuildError
from fleetctl.images.base import Base, address, find_base
from fleetctl.remotes.oci import INDEX_TYPES, MANIFEST_TYPE, Manifest, OciRemote
from fleetctl.store import BlobStore, canonical_json, sha256


def _twisted(tar: bytes) -> bytes:
    layer = bytearray(gzip.compress(tar))
    layer[len(layer) // 2] ^= 0xFF
    return bytes(layer)


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut-in-the-header": lambda tar: gzip.compress(tar)[:3],
    "cut-in-a-file": lambda tar: gzip.compress(tar[:520]),
    "cut-at-the-end": lambda tar: gzip.compress(tar)[:-4],
    "twisted": _twisted,
    "no-tar": lambda _: gzip.compress(b"no tar" * 200),
    "another": lambda tar: gzip.compress(tar.replace(b"interpreter", b"intruder   ")),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with a good base, and with some that will not do, each under its own tag."""
    with running_registry(tmp_path_factory.mktemp("registry")) as at:
        remote, tree = OciRemote(f"oci://{at}/base"), rootfs(FILES)
        publish(remote, "good", {"arm64": tree})
        remote.put_manifest("plain", image(remote, "amd64", tree))
        publish(remote, "amd64-only", {"amd64": tree})
        publish(remote, "no-python", {"arm64": rootfs({"usr/bin/python3.9": b""})})
        publish(remote, "bzip2", {"arm64": tree}, compress=bz2.compress)
        publish(remote, "in-pieces", {"arm64": tree}, compress=_in_pieces)
        for tag, compress in DAMAGED.items():
            publish(remote, tag, {"arm64": tree}, compress=compress)
        yield at


def _in_pieces(tar: bytes) -> bytes:
    return b"".join(gzip.compress(tar[at : at + 512]) for at in range(0, len(tar), 512))


def found(registry: str, folder: Path, tag: str) -> Base:
    return find_base(f"{registry}/base:{tag}", "arm64", (3, 11), folder)


@pytest.mark.parametrize("tag", ["good", "in-pieces"])
def test_a_base_is_looked_into(registry: str, tmp_path: Path, tag: str) -> None:
    """Images that are fetched lazily have each file compressed apart; together they are one tar."""
    base = found(registry, tmp_path, tag)

    assert ("/usr/bin/python3.11", {"libc6": "2.36-9+deb12u7"}) == (base.python, base.packages)


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("nowhere", "there is no image "),
        ("plain", "is for linux/amd64, not linux/arm64"),
        ("amd64-only", "is not there for linux/arm64, but for linux/amd64"),
        ("no-python", "has no Python 3.11, which modules run on"),
        ("bzip2", "is not compressed with gzip"),
        *((tag, "a layer of .* is damaged: ") for tag in DAMAGED),
    ],
)
def test_a_base_that_will_not_do_is_refused(registry: str, tmp_path: Path, tag: str, says: str) -> None:
    """The message names the base."""
    with pytest.raises(BuildError, match=says) as error:
        found(registry, tmp_path, tag)

    assert f"{registry}/base:{tag}" in error.value.message


def test_a_damaged_layer_of_the_cache_is_named(registry: str, tmp_path: Path) -> None:
    """Deleted as the hint says, it is fetched again."""
    (ref,) = found(registry, tmp_path, "good").layers
    layer = BlobStore(tmp_path / "blobs").path(ref.sha256)
    layer.chmod(0o644)
    layer.write_bytes(gzip.compress(rootfs({})))
    with pytest.raises(BuildError, match="is damaged: unpacked it is sha256:") as refused:
        found(registry, tmp_path, "good")

    assert f"delete {layer} to have it fetched again" in refused.value.hint
    layer.unlink()
    assert (ref,) == found(registry, tmp_path, "good").layers


class Teller(OciRemote):
    """A registry that says what it is told to: documents by tag or digest, and blobs."""

    def __init__(self, documents: Mapping[str, Manifest], blobs: Mapping[str, bytes]) -> None:
        super().__init__("oci://registry.invalid/base")
        self._documents = documents
        self._blobs = blobs

    def manifest(self, reference: str) -> Manifest | None:
        return self._documents.get(reference)

    def read(self, ref: BlobRef, offset: int) -> Iterator[bytes]:
        yield self._blobs.get(ref.sha256, b"whatever a registry likes")[offset:]


CONFIG = {"architecture": "arm64", "os": "linux", "rootfs": {"diff_ids": []}}
LAYER = {"digest": f"sha256:{'0' * 64}", "size": 25}


def told(folder: Path, body: bytes, media_type: str, blobs: Mapping[str, bytes]) -> BuildError:
    """The complaint about a base that its registry says this of."""
    teller = Teller({"1": Manifest(body, media_type)}, blobs)
    with pytest.raises(BuildError, match=r"what the registry says of .* is not an image") as error:
        find_base("registry.invalid/base:1", "arm64", (3, 11), folder, lambda _: teller)
    assert "registry.invalid/base:1" in error.value.message
    return error.value


def config_of(**changes: Any) -> tuple[dict[str, Any], Mapping[str, bytes]]:
    """A descriptor of a config with changes, and the blobs that are behind it."""
    body = canonical_json({**CONFIG, **changes})
    return {"digest": f"sha256:{sha256(body)}", "size": len(body)}, {sha256(body): body}


@pytest.mark.parametrize(
    ("descriptor", "says"),
    [
        ({"digest": "sha256:../../outside", "size": 25}, "digest: expected a sha256 of 64 hex digits"),
        ({"digest": f"sha256:{'A' * 64}", "size": 25}, "digest: expected a sha256 of 64 hex digits"),
        ({"digest": "0" * 64, "size": 25}, "digest: expected sha256: and a digest"),
        ({"digest": f"sha512:{'0' * 128}", "size": 25}, "digest: expected sha256: and a digest"),
        ({"digest": 7, "size": 25}, "digest: expected a text, got a number"),
        ({"size": 25}, "'digest' is missing"),
        ({"digest": LAYER["digest"]}, "'size' is missing"),
        ({"digest": LAYER["digest"], "size": -1}, "size: expected at least 0, got -1"),
        ({"digest": LAYER["digest"], "size": 2.5}, "size: expected a whole number"),
        ({"digest": LAYER["digest"], "size": True}, "size: expected a whole number"),
        ({"digest": LAYER["digest"], "size": "25"}, "size: expected a whole number"),
        ("a text", "expected an object, got a text"),
    ],
)
def test_a_descriptor_that_names_no_blob_is_refused(tmp_path: Path, descriptor: Any, says: str) -> None:
    """Of config, layer or image alike, before a byte of it is fetched."""
    good, blobs = config_of()
    documents = [
        ({"config": descriptor, "layers": []}, MANIFEST_TYPE),
        ({"config": good, "layers": [LAYER, descriptor]}, MANIFEST_TYPE),
        ({"manifests": [descriptor]}, INDEX_TYPES[0]),
    ]
    for document, media_type in documents:
        error = told(tmp_path / "images", json.dumps(document).encode(), media_type, blobs)
        assert says in error.message
    assert [] == list(tmp_path.iterdir())


def test_a_registry_writes_nowhere_but_into_the_cache(tmp_path: Path) -> None:
    """A digest becomes a file's name: one that is a path is refused, and nothing lies there."""
    outside = tmp_path / "outside"
    good, blobs = config_of()
    document = {"config": good, "layers": [{"digest": f"sha256:{outside}", "size": 1000}]}
    told(tmp_path / "images", json.dumps(document).encode(), MANIFEST_TYPE, blobs)

    assert not outside.with_suffix(".part").exists()


@pytest.mark.parametrize(
    ("body", "media_type", "says"),
    [
        (b"<html>", MANIFEST_TYPE, "not JSON"),
        pytest.param(b"[" * 100_000, MANIFEST_TYPE, "nested too deeply", id="depth"),
        (b"[]", MANIFEST_TYPE, "expected an object, got an array"),
        (b'{"layers": []}', MANIFEST_TYPE, "'config' is missing"),
        (b'{"schemaVersion": 1, "fsLayers": []}', MANIFEST_TYPE, "'config' is missing"),
        (json.dumps({"config": LAYER}).encode(), MANIFEST_TYPE, "'layers' is missing"),
        (json.dumps({"config": LAYER, "layers": {}}).encode(), MANIFEST_TYPE, "layers: expected an array"),
        (b"{}", INDEX_TYPES[0], "'manifests' is missing"),
        (b'{"manifests": 1}', INDEX_TYPES[1], "manifests: expected an array"),
        (
            json.dumps({"manifests": [{**LAYER, "platform": "linux"}]}).encode(),
            INDEX_TYPES[0],
            "platform: expected an object",
        ),
    ],
)
def test_a_document_that_is_no_image_is_refused(
    tmp_path: Path, body: bytes, media_type: str, says: str
) -> None:
    """Whatever a registry answers with is an error that says what is wrong with it, and where."""
    assert says in told(tmp_path, body, media_type, {}).message


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rootfs": None}, "expected an object"),
        ({"rootfs": {}}, "'diff_ids' is missing"),
        ({"rootfs": {"diff_ids": ["sha256:x"]}}, "diff_ids[0]: expected a sha256 of 64 hex digits"),
        ({"rootfs": {"diff_ids": [LAYER["digest"]]}}, "it tells of 1 layers, and there are 0"),
        ({"config": []}, "config: expected an object"),
        ({"config": {"Env": "PATH=/bin"}}, "Env: expected an array"),
        ({"config": {"Env": [1]}}, "Env[0]: expected a text"),
        ({"config": {"Labels": ["a"]}}, "Labels: expected an object"),
        ({"variant": ["v8"]}, "variant: expected a text"),
    ],
)
def test_a_config_that_is_no_image_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    """What a module's image takes over of its base is looked at before anything is made of it."""
    good, blobs = config_of(**changes)
    body = json.dumps({"config": good, "layers": []}).encode()

    assert says in told(tmp_path, body, MANIFEST_TYPE, blobs).message


@pytest.mark.parametrize(
    ("name", "where", "reference"),
    [
        ("python:3.11-slim-bookworm", "oci://registry-1.docker.io/library/python", "3.11-slim-bookworm"),
        ("team/base", "oci://registry-1.docker.io/team/base", "latest"),
        ("registry.example/base", "oci://registry.example/base", "latest"),
        ("127.0.0.1:5000/a/b:1", "oci://127.0.0.1:5000/a/b", "1"),
        ("localhost/a", "oci://localhost/a", "latest"),
        (f"a.example/b:1@sha256:{'0' * 64}", "oci://a.example/b", f"sha256:{'0' * 64}"),
    ],
)
def test_names_of_images_are_read_as_docker_reads_them(name: str, where: str, reference: str) -> None:
    """Docker Hub and `latest` may be left out."""
    assert (where, reference) == address(name)
