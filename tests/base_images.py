"""Base images in a registry of a test's own: tiny ones made of a few files, and Debian from the engine."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetctl.artifact import BlobRef
from fleetctl.bootstrap.wheelhouse import Platform, list_wheels, packages_for
from fleetctl.images.wheels import GLIBC, PYTHON, REQUIREMENTS, place_of
from fleetctl.remotes.oci import INDEX_TYPES, MANIFEST_TYPE, Manifest, OciRemote
from fleetctl.store import canonical_json, sha256

_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"

STATUS = """\
Package: libc6
Status: install ok installed
Version: 2.36-9+deb12u7

Package: gone
Status: deinstall ok config-files
Version: 1
"""
FILES = {"usr/bin/python3.11": b"an interpreter", "var/lib/dpkg/status": STATUS.encode()}


def rootfs(files: Mapping[str, bytes]) -> bytes:
    """A tar of files, as the engine exports it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def publish(
    remote: OciRemote, tag: str, trees: Mapping[str, bytes], *, compress: Any = gzip.compress
) -> None:
    """Have an index under a tag, with an image of one layer for each processor."""
    manifests = []
    for architecture, tree in trees.items():
        manifest = image(remote, architecture, tree, compress=compress)
        remote.put_manifest(manifest.digest, manifest)
        platform = {"os": "linux", "architecture": architecture}
        manifests.append({**descriptor(manifest.body, MANIFEST_TYPE), "platform": platform})
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPES[0], "manifests": manifests}
    remote.put_manifest(tag, Manifest(canonical_json(document), INDEX_TYPES[0]))


def image(remote: OciRemote, architecture: str, tree: bytes, *, compress: Any = gzip.compress) -> Manifest:
    """The manifest of an image whose blobs are in the repository."""
    config = {
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(tree)}"]},
    }
    layer, body = compress(tree), canonical_json(config)
    for data in (layer, body):
        remote.upload(BlobRef(sha256(data), len(data)), io.BytesIO(data))
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(body, _CONFIG_TYPE),
        "layers": [descriptor(layer, _LAYER_TYPE)],
    }
    return Manifest(canonical_json(document), MANIFEST_TYPE)


def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{sha256(data)}", "size": len(data)}


def little_wheelhouse(folder: Path, machines: Sequence[str] = ("x86_64", "aarch64")) -> Path:
    """A wheelhouse that needs no index: it is complete, with two tiny wheels for each machine."""
    for machine in machines:
        platform = Platform(machine, PYTHON, GLIBC)
        for place, wheel, requirements in (
            (
                folder / platform.name,
                f"numpy-1.26.4-cp311-cp311-linux_{machine}.whl",
                packages_for(platform).requirements,
            ),
            (place_of(platform, folder), "azure_iot_device-2.14.0-py3-none-any.whl", REQUIREMENTS),
        ):
            place.mkdir(parents=True)
            package = wheel.partition("-")[0]
            write_wheel(
                place / wheel,
                {f"{package}/__init__.py": machine.encode(), f"{package}-1.data/scripts/tool": b"#!python"},
            )
            list_wheels(place, requirements)
    return folder


def write_wheel(path: Path, files: Mapping[str, bytes]) -> None:
    """A wheel of these files: the same bytes whenever it is written, as an index gives them."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # by its name alone, it would bear the time


def engine_rootfs(client: Any, name: str) -> bytes:
    """All files of an image that the engine has."""
    container = client.containers.create(name, "true")
    try:
        return b"".join(container.export())
    finally:
        container.remove(force=True)


def quickly(data: bytes) -> bytes:
    """Compressed as fast as can be."""
    return gzip.compress(data, 1)


def document_of(remote: OciRemote, reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and config of an image."""
    found = remote.manifest(reference)
    assert found is not None
    manifest = json.loads(found.body)
    return manifest, json.loads(blob(remote, manifest["config"]))


def blob(remote: OciRemote, descriptor: Mapping[str, Any]) -> bytes:
    ref = BlobRef(descriptor["digest"].removeprefix("sha256:"), descriptor["size"])
    return b"".join(remote.read(ref, 0))


def members(layer: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        return {each.name: each for each in tar.getmembers()}
