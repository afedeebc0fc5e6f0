"""Module images: put together without an engine for any processor, the same each time, with a bill inside."""

import bz2
import gzip
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from base_images import (
    FILES,
    blob,
    document_of,
    image,
    little_wheelhouse,
    members,
    publish,
    rootfs,
    write_wheel,
)
from registry import running_registry

from fleetctl.artifact import BlobRef
from fleetctl.errors import BuildError, FleetError
from fleetctl.images.base import address, find_base
from fleetctl.images.layers import carried, environment
from fleetctl.images.module_image import ImageMaker
from fleetctl.lockfile import ModuleImage
from fleetctl.remotes.oci import INDEX_TYPES, MANIFEST_TYPE, Manifest, OciRemote
from fleetctl.store import canonical_json, sha256

CARRIED = {"runtime/edge_module.py": b"pass", "model/model.tflite": b"a model"}
RELEASE = {path: {"sha256": sha256(data), "size": len(data)} for path, data in CARRIED.items()}
BYTES = {sha256(data): data for data in CARRIED.values()}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with a base for both processors."""
    with running_registry(tmp_path_factory.mktemp("registry")) as at:
        trees = {each: rootfs({**FILES, "etc/which": each.encode()}) for each in MACHINES.values()}
        publish(OciRemote(f"oci://{at}/base"), "bookworm", trees)
        yield at


def maker(registry: str, folder: Path, base: str = "base:bookworm", repository: str = "fleet") -> ImageMaker:
    if not (folder / "wheels").exists():
        little_wheelhouse(folder / "wheels")
    remote = OciRemote(f"oci://{registry}/{repository}")
    return ImageMaker(remote, folder / "images", folder / "wheels", f"{registry}/{base}")


def make(maker: ImageMaker, machine: str = "aarch64", commit: str = "c0ffee") -> ModuleImage:
    return maker.make(RELEASE, BYTES.__getitem__, machine, commit)


@pytest.mark.parametrize("machine", MACHINES)
def test_an_image_is_made_for_any_processor_on_this_one(registry: str, tmp_path: Path, machine: str) -> None:
    """It says whose it is, runs as nobody special, looks after its health, and has the release inside."""
    here = maker(registry, tmp_path)
    made = make(here, machine)
    manifest, config = document_of(here.repository, f"sha256:{made.digest}")
    inside = config["config"]
    labels = inside["Labels"]

    assert (MACHINES[machine], "linux") == (config["architecture"], config["os"])
    assert ("10001:10001", ["PATH=/usr/bin:/bin"]) == (inside["User"], inside["Env"][:1])
    assert ["CMD", "/opt/venv/bin/python"] == inside["Healthcheck"]["Test"][:2]
    assert (made.content, sha256(b"a model")) == (labels["fleetctl.image"], labels["fleetctl.model"])
    assert "c0ffee" == labels["org.opencontainers.image.revision"]
    assert made.size == sum(each["size"] for each in [manifest["config"], *manifest["layers"]])
    below, packages, release = (members(blob(here.repository, each)) for each in manifest["layers"])
    assert "etc/which" in below
    assert "opt/venv/lib/python3.11/site-packages/numpy/__init__.py" in packages
    assert "/usr/bin/python3.11" == packages["opt/venv/bin/python"].linkname
    assert 10001 == packages["opt/fleetctl"].uid
    assert not [name for name in packages if "scripts" in name or "tool" in name]
    assert {"fleetctl-image/image.json", "fleetctl-image/model/model.tflite"} <= set(release)
    unpacked = [gzip.decompress(blob(here.repository, each)) for each in manifest["layers"]]
    assert [f"sha256:{sha256(each)}" for each in unpacked] == config["rootfs"]["diff_ids"]


def test_two_machines_make_the_same_image(registry: str, tmp_path: Path) -> None:
    """Elsewhere, into another repository, the digest is the same; another commit shares every layer."""
    first, again = make(maker(registry, tmp_path / "a")), maker(registry, tmp_path / "b", repository="other")
    other = make(again, commit="beef")

    assert first == make(again)
    assert first.digest != other.digest
    layers = [document_of(again.repository, f"sha256:{each.digest}")[0]["layers"] for each in (first, other)]
    assert layers[0] == layers[1]
    assert first.digest != make(again, "x86_64").digest


def test_the_bill_names_what_is_inside(registry: str, tmp_path: Path) -> None:
    """Debian's packages, Python's, the model and the base by digest; what is not installed is not named."""
    here = maker(registry, tmp_path)
    made = make(here)
    layer = blob(here.repository, document_of(here.repository, f"sha256:{made.digest}")[0]["layers"][2])
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        stream = tar.extractfile("fleetctl-image/sbom.cdx.json")
        assert stream is not None
        document = json.loads(stream.read())

    found = {each["name"]: each for each in document["components"]}
    assert "pkg:deb/debian/libc6@2.36-9%2Bdeb12u7" == found["libc6"]["purl"]
    assert ("1.26.4", "2.14.0") == (found["numpy"]["version"], found["azure-iot-device"]["version"])
    assert sha256(b"a model") == found["model.tflite"]["hashes"][0]["content"]
    assert made.base.partition("@sha256:")[2] == found[f"{registry}/base:bookworm"]["hashes"][0]["content"]
    assert "gone" not in found
    assert "CycloneDX" == document["bomFormat"]


def _spoiled(registry: str) -> None:
    """Bases that will not do, each under its own tag."""
    remote = OciRemote(f"oci://{registry}/base")
    remote.put_manifest("plain", image(remote, "amd64", rootfs(FILES)))
    publish(remote, "amd64-only", {"amd64": rootfs(FILES)})
    publish(remote, "no-python", {"arm64": rootfs({"usr/bin/python3.9": b""})})
    publish(remote, "bzip2", {"arm64": rootfs(FILES)}, compress=bz2.compress)


@pytest.mark.parametrize(
    ("tag", "says"),
    [
        ("nowhere", "there is no image "),
        ("plain", "is for linux/amd64, not linux/arm64"),
        ("amd64-only", "is not there for linux/arm64, but for linux/amd64"),
        ("no-python", "has no Python 3.11, which modules run on"),
        ("bzip2", "is not compressed with gzip"),
    ],
)
def test_a_base_that_will_not_do_is_refused(registry: str, tmp_path: Path, tag: str, says: str) -> None:
    """Nothing is pushed that no board could run; the message names the base."""
    _spoiled(registry)
    here = maker(registry, tmp_path, f"base:{tag}", repository=f"none-{tag}")
    with pytest.raises(BuildError, match=says) as error:
        make(here)

    assert f"{registry}/base:{tag}" in error.value.message
    assert here.repository.manifest(f"{sha256(b'')[:24]}-arm64") is None


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


def test_machines_that_iot_edge_does_not_know_are_refused(tmp_path: Path) -> None:
    """There is no image for 32 bits, and no registry is asked for one."""
    with pytest.raises(FleetError, match="no module images for armv7l"):
        make(maker("registry.invalid", tmp_path), "armv7l")


def test_the_same_files_give_the_same_layer() -> None:
    """Neither the order of files nor the time of day shows in a layer, nor who made it."""
    made = carried(CARRIED, "carried")

    assert made == carried(dict(reversed(CARRIED.items())), "carried")
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        entries = tar.getmembers()
    assert {0} == {each.mtime for each in entries} | {each.uid for each in entries}
    assert {0o444} == {each.mode for each in entries if each.isfile()}
    assert "carried" == entries[0].name


@pytest.mark.parametrize("path", ["../../../../../etc/passwd", "/etc/passwd", "a.data/purelib/../../../x"])
def test_a_wheel_that_would_write_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    """What a package index gives is not let out of its place."""
    wheel = tmp_path / "evil-1-py3-none-any.whl"
    write_wheel(wheel, {path: b""})
    options: dict[str, Any] = {"python": "/usr/bin/python3.11", "venv": "/opt/venv", "version": (3, 11)}
    with pytest.raises(BuildError, match="would write to"):
        environment([wheel], **options, owned={})


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
