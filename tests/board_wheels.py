"""Wheels that a board can make an environment of, and the request that brings them."""

import ensurepip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

PROOF = "import toy; assert toy.ANSWER == 42"


def real_wheels() -> dict[str, bytes]:
    """pip's own wheel, as Python brings it, and a package of three lines."""
    # Debian keeps them apart from Python, and says where.
    places = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    found = [wheel for place in places for wheel in place.glob("pip-*.whl")]
    if not found:
        pytest.skip(f"this Python brings no wheel of pip: looked in {places}")
    bundled = found[0]
    return {bundled.name: bundled.read_bytes(), "toy-1.0-py3-none-any.whl": toy_wheel()}


def toy_wheel(**more: str) -> bytes:
    """A wheel of one module; `more` are files beside it, by the letters of their names before `.pth`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("toy.py", "ANSWER = 42\n")
        for name, text in more.items():
            archive.writestr(f"{name}.pth", text)
        archive.writestr("toy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        archive.writestr(
            "toy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("toy-1.0.dist-info/RECORD", "toy.py,,\ntoy-1.0.dist-info/METADATA,,\n")
    return stream.getvalue()


def tar_of(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def request_of(wheels: dict[str, bytes], **more: Any) -> dict[str, Any]:
    asked = {name: [hashlib.sha256(data).hexdigest(), len(data)] for name, data in wheels.items()}
    return {"user": "", "udev": False, "wheels": asked, "proof": PROOF, **more}
