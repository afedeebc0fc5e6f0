"""The bill of materials of a module image, in CycloneDX: its Python packages, and the model it carries."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetctl.store import sha256_file

NAME = "sbom.cdx.json"
_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)-.*\.whl")


def bill(wheels: Mapping[str, Path], files: Mapping[str, Mapping[str, Any]], base: str) -> bytes:
    """The document. `files` are those of the release, `base` is the image that this one is made from."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot5

    def component(kind: ComponentType, name: str, version: str, digest: str) -> Component:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest)] if digest else []
        return Component(type=kind, name=name, version=version, hashes=hashes, bom_ref=f"{name}@{version}")

    bom = Bom()
    bom.components.add(component(ComponentType.CONTAINER, "base", base, ""))
    for file, path in wheels.items():
        if found := _WHEEL.fullmatch(file):
            name, version = found["name"].replace("_", "-"), found["version"]
            bom.components.add(component(ComponentType.LIBRARY, name, version, sha256_file(path)))
    model = files.get("model/model.tflite")
    if model is not None:
        kind = ComponentType.MACHINE_LEARNING_MODEL
        bom.components.add(component(kind, "model.tflite", model["sha256"][:12], model["sha256"]))
    return _timeless(JsonV1Dot5(bom).output_as_string(indent=2))


def _timeless(text: str) -> bytes:
    """Without the serial number and the time of writing, which no two builds share."""
    text = re.sub(r'\n\s*"serialNumber": "[^"]*",?', "", text)
    text = re.sub(r'\n\s*"timestamp": "[^"]*",?', "", text)
    return text.encode() + b"\n"
