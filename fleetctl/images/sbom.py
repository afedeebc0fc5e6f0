"""The bill of materials of a module image, in CycloneDX: Debian's packages, Python's, and the model."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetctl.errors import ToolchainMissing
from fleetctl.store import sha256_file

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

NAME = "sbom.cdx.json"
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.*\.whl")


def bill(
    wheels: Mapping[str, Path],
    files: Mapping[str, Mapping[str, Any]],
    base: str,
    packages: Mapping[str, str],
) -> bytes:
    """The document. `files` are those of the release; `base` is the image below, with its Debian packages.

    Raises:
        ToolchainMissing: what writes it is not installed.
    """
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.output.json import JsonV1Dot5
    except ImportError as error:
        raise ToolchainMissing(
            f"{error.name} is not installed, which writes an image's bill of materials",
            hint="pip install 'fleetctl[iothub]'",
        ) from error

    bom = Bom()
    for component in _components(wheels, files, base, packages):
        bom.components.add(component)
    return _timeless(JsonV1Dot5(bom).output_as_string(indent=2))


def _components(
    wheels: Mapping[str, Path],
    files: Mapping[str, Mapping[str, Any]],
    base: str,
    packages: Mapping[str, str],
) -> "Iterator[Component]":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    def component(
        kind: ComponentType, name: str, version: str, purl: PackageURL | None, digest: str
    ) -> Component:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []
        reference = purl.to_string() if purl else f"{name}@{version}"
        return Component(type=kind, name=name, version=version, purl=purl, hashes=hashes, bom_ref=reference)

    name, _, digest = base.partition("@sha256:")
    yield component(ComponentType.CONTAINER, name, digest[:12], None, digest)
    for package, version in packages.items():
        yield component(
            ComponentType.LIBRARY, package, version, PackageURL("deb", "debian", package, version), ""
        )
    for file, path in wheels.items():
        if found := _WHEEL.fullmatch(file):
            package, version = found["name"].replace("_", "-").lower(), found["version"]
            purl = PackageURL("pypi", None, package, version)
            yield component(ComponentType.LIBRARY, package, version, purl, sha256_file(path))
    if (model := files.get("model/model.tflite")) is not None:
        kind = ComponentType.MACHINE_LEARNING_MODEL
        yield component(kind, "model.tflite", model["sha256"][:12], None, model["sha256"])


def _timeless(text: str) -> bytes:
    """Without the serial number and the time of writing, which no two builds share."""
    text = re.sub(r'\n\s*"serialNumber": "[^"]*",?', "", text)
    text = re.sub(r'\n\s*"timestamp": "[^"]*",?', "", text)
    return text.encode() + b"\n"
