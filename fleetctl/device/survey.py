"""What this board could load a model with, seen without running any of it: the controller judges by it."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Dict, List, NamedTuple, Optional

from .files import names, words_of
from .vitals import has_edge_tpu

_PACKAGES = (
    "tflite_runtime",
    "ai_edge_litert",
    "tensorflow",
)  # in the order in which `runtime.py` tries them
_DPKG = "/var/lib/dpkg"
_STATUS_LIMIT = 16 << 20  # bytes; a large system has three


def survey(python: str) -> Dict[str, Any]:
    """Facts about the interpreter at `python` (a path, or a command's name) and what is around it.

    `python.exists` is false only where there surely is none; `tflite` is empty where the interpreter surely
    has none, and null, as any other fact, where it cannot be told.
    """
    exists = _exists(python)
    found = _interpreter(python) if exists else None
    return {
        "machine": machine(),
        "system": system(),
        "python": {"path": python, "exists": exists, "version": found.version if found else None},
        "tflite": _tflite(found) if found else None,
        "libedgetpu": libedgetpu(),
        "edge_tpu": has_edge_tpu(),
    }


def places_of(python: str, dpkg: str = _DPKG) -> List[str]:
    """Files and folders that `survey` goes by, there or not, besides the devices."""
    places = ["/etc/os-release", os.path.join(dpkg, "info"), os.path.join(dpkg, "status")]
    if not os.path.isabs(python):
        return places
    real = os.path.realpath(python)
    for prefix in (os.path.dirname(os.path.dirname(path)) for path in (python, real)):
        lib = os.path.join(prefix, "lib")
        found = _with_packages(prefix, real, False)
        places += [prefix, os.path.join(prefix, "pyvenv.cfg"), lib, *(found.packages if found else ())]
    return [python, real, *places]


class _Interpreter(NamedTuple):
    version: str
    packages: List[str]  # folders
    isolated: bool  # a virtual environment that sees nothing but its own


def machine() -> str:
    """The instruction set of this Python: a 64-bit kernel may carry a 32-bit system."""
    said = os.uname().machine
    return "armv7l" if said == "aarch64" and sys.maxsize < 2**32 else said


def system() -> Optional[str]:
    """`PRETTY_NAME` of os-release."""
    line = re.search(r'PRETTY_NAME="?([^"]{1,100})', " ".join(words_of("/etc/os-release")))
    return line.group(1) if line else None


def libedgetpu(dpkg: str = _DPKG) -> Optional[str]:
    """The Debian version of the Edge TPU's library; None where it came by another way, or not at all."""
    lists = [name for name in names(os.path.join(dpkg, "info")) if name.endswith(".list")]
    package = next((name for name in lists if re.match(r"libedgetpu1-(std|max)[:.]", name)), None)
    if package is None:
        return None
    try:
        with open(os.path.join(dpkg, "status"), errors="replace") as stream:
            status = stream.read(_STATUS_LIMIT)
    except OSError:
        return None
    stanza = re.search(r"^Package: %s\n((?:.+\n)+)" % re.split("[:.]", package)[0], status, re.MULTILINE)
    version = re.search(r"^Version: (\S{1,60})$", stanza.group(1), re.MULTILINE) if stanza else None
    return version.group(1) if version else None


def _exists(python: str) -> bool:
    if not os.path.isabs(python):
        return True  # whoever runs it may have another search path
    try:
        os.stat(python)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # it is hidden from us, and so may be there
    return True


def _interpreter(python: str) -> Optional[_Interpreter]:
    if not os.path.isabs(python):
        return None
    prefix, real = os.path.dirname(os.path.dirname(python)), os.path.realpath(python)
    settings = " ".join(words_of(os.path.join(prefix, "pyvenv.cfg")))
    if settings:  # a virtual environment
        return _with_packages(prefix, real, "include-system-site-packages = false" in settings)
    return _with_packages(os.path.dirname(os.path.dirname(real)), real, False)


def _with_packages(prefix: str, program: str, isolated: bool) -> Optional[_Interpreter]:
    """The Python of a prefix that a program is, by its name, or else the one that is there; None where there
    are several, or none.

    An environment whose system was upgraded holds what its Python of before could load, and that one only.
    """
    lib = os.path.join(prefix, "lib")
    named = re.match(r"python(3\.\d+)\Z", os.path.basename(program))
    versions = [name[6:] for name in names(lib) if re.match(r"python3\.\d+\Z", name)]
    if named and versions:
        versions = [named.group(1)]
    if len(versions) != 1:
        return None
    own = "python" + versions[0]
    folders = [os.path.join(lib, own, "site-packages")]
    if not isolated:
        folders.append(os.path.join(prefix, "local", "lib", own, "dist-packages"))
        folders.append(os.path.join(lib, "python3", "dist-packages"))
    return _Interpreter(versions[0], folders, isolated)


def _tflite(interpreter: _Interpreter) -> Optional[str]:
    """Package and version of the TFLite runtime that `runtime.py` would find there."""
    held = [name for folder in interpreter.packages for name in names(folder)]
    for package in _PACKAGES:
        pattern = re.compile(re.escape(package) + r"-([0-9][\w.+]*)\.(?:dist|egg)-info\Z")
        versions = [found.group(1) for found in map(pattern.match, held) if found]
        if versions:
            return "%s %s" % (package, versions[0])
    linked = any(name.endswith((".pth", ".egg-link")) and name != "distutils-precedence.pth" for name in held)
    return "" if interpreter.isolated and not linked else None
