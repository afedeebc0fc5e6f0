"""Module images: put together without an engine for any processor, the same each time, with a bill inside."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from base_images import (
    FILES,
    blob,
    document_of,
    little_wheelhouse,
    members,
    publish,
    rootfs,
    write_wheel,
)
from registry import running_registry

from fleetctl.errors import BuildError, FleetError
from fleetctl.images.layers import carried, environment
from fleetctl.images.module_image import ImageMaker
from fleetctl.lockfile import ModuleImage
from fleetctl.remotes.oci import OciRemote
from fleetctl.store import sha256
from fleetctl.transports.iothub_consignment import content_digest

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


def test_nothing_is_pushed_where_the_base_will_not_do(registry: str, tmp_path: Path) -> None:
    """No board could run it."""
    tag = f"{content_digest(RELEASE)[:24]}-arm64"
    good, bad = (maker(registry, tmp_path, f"base:{each}", f"for-{each}") for each in ("bookworm", "nowhere"))
    make(good)
    with pytest.raises(BuildError, match="there is no image "):
        make(bad)

    assert good.repository.manifest(tag) is not None
    assert bad.repository.manifest(tag) is None


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
