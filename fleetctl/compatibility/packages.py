"""TFLite runtimes and Edge TPU libraries: which exist for what, and which go together.

Published wheels were looked up in November 2026 with `pip download --platform ... --python-version ...`;
what is not on PyPI is named with the place that has it.
"""

import re
from enum import StrEnum

from msgspec import Struct

from fleetctl.compatibility.versions import Version, parse_version
from fleetctl.manifest.schema import Machine


class Package(StrEnum):
    """Python packages that hold a TFLite interpreter, in the order in which a board looks for them."""

    TFLITE_RUNTIME = "tflite-runtime"
    LITERT = "ai-edge-litert"
    TENSORFLOW = "tensorflow"


# LiteRT counts its own versions. The TensorFlow that each says it is (`strings` of its library) is a
# development version: 1.4.0 2.20.0-dev0, 2.0.2 2.21.0-dev0, 2.1.6 and 2.3.0 2.22.0-dev0. What is sure is the
# release before. 1.0 to 1.3 do not say; the first came out after TensorFlow 2.17.
_LITERT_IS = (
    (Version(2, 1), Version(2, 21)),
    (Version(2, 0), Version(2, 20)),
    (Version(1, 4), Version(2, 19)),
    (Version(1, 0), Version(2, 17)),
)


class Interpreter(Struct, frozen=True):
    """A TFLite runtime: the package it comes in and that package's own version."""

    package: Package
    version: Version

    @property
    def tflite(self) -> Version:
        """The TensorFlow release whose operations it has, at least."""
        if self.package is not Package.LITERT:
            return self.version
        return next((tflite for litert, tflite in _LITERT_IS if self.version >= litert), Version(0, 0))

    @property
    def requirement(self) -> str:
        """What pip installs it by, and what `runtime.tflite` of the manifest takes."""
        return f"{self.package}=={'.'.join(map(str, self.version))}"

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def parse_interpreter(text: str) -> Interpreter | None:
    """`tflite-runtime==2.17.1`, or the `tflite_runtime 2.14.0` of a receipt; None for anything else."""
    name, _, version = text.replace("_", "-").replace("==", " ").partition(" ")
    parsed = parse_version(version)
    return Interpreter(Package(name), parsed) if parsed and name in set(Package) else None


# What other systems than Debian call the same instruction sets, and a 32-bit system on a 64-bit processor.
_ALSO_CALLED = {"arm64": "aarch64", "amd64": "x86_64", "AMD64": "x86_64", "armv8l": "armv7l"}


def parse_machine(text: str) -> str | None:
    """An instruction set by the name that wheels have; None for one of which nothing is known here."""
    name = _ALSO_CALLED.get(text, text)
    return name if name in set(Machine) else None


class Wheels(Struct, frozen=True):
    """Published wheels: of a package, from version `first` to `last`, for these machines and Pythons."""

    package: Package
    first: Version
    last: Version
    machines: frozenset[str]
    oldest_python: Version
    newest_python: Version
    on_pypi: bool = True

    @property
    def newest(self) -> Interpreter:
        return Interpreter(self.package, self.last)

    def holds(self, interpreter: Interpreter) -> bool:
        return self.package is interpreter.package and self.first <= interpreter.version <= self.last

    def fits(self, machine: str | None, python: Version | None) -> bool:
        """Whether a board can install them; what is not known of it does not speak against."""
        fits_machine = machine is None or machine in self.machines
        return fits_machine and (
            python is None or self.oldest_python.series <= python.series <= self.newest_python.series
        )


_ARM_AND_PC = frozenset({"aarch64", "armv7l", "x86_64"})
_PC_AND_64_BIT_ARM = frozenset({"aarch64", "x86_64"})
_TFLITE_RUNTIME, _LITERT = Package.TFLITE_RUNTIME, Package.LITERT
# Oldest TFLite first: the least change that helps is named as the fix.
WHEELS = (
    # Google's own, with pycoral 2.0.0 (github.com/google-coral/pycoral/releases/tag/v2.0.0); Mendel 5 has it.
    Wheels(
        _TFLITE_RUNTIME,
        first=Version(2, 5),
        last=Version(2, 5),
        machines=_ARM_AND_PC,
        oldest_python=Version(3, 6),
        newest_python=Version(3, 9),
        on_pypi=False,
    ),
    # The last on PyPI; on ARM it asks for glibc 2.34, so for Debian 12.
    Wheels(
        _TFLITE_RUNTIME,
        first=Version(2, 14),
        last=Version(2, 14),
        machines=_ARM_AND_PC,
        oldest_python=Version(3, 9),
        newest_python=Version(3, 11),
    ),
    # github.com/feranick/TFlite-builds/releases: made to go with github.com/feranick/libedgetpu.
    Wheels(
        _TFLITE_RUNTIME,
        first=Version(2, 17, 1),
        last=Version(2, 17, 1),
        machines=_ARM_AND_PC,
        oldest_python=Version(3, 9),
        newest_python=Version(3, 12),
        on_pypi=False,
    ),
    # No 32-bit ARM: google-ai-edge/LiteRT issue 6043.
    Wheels(
        _LITERT,
        first=Version(2, 1),
        last=Version(2, 3),
        machines=_PC_AND_64_BIT_ARM,
        oldest_python=Version(3, 10),
        newest_python=Version(3, 14),
    ),
)


class EdgeTpuLibrary(Struct, frozen=True):
    """A build of libedgetpu.

    `tensorflow` is the release it was built against, `runtime` the number that compiled packages ask for
    (`RuntimeVersion(14)`); each None where it is not known.
    """

    name: str
    tensorflow: Version | None
    runtime: int | None

    def __str__(self) -> str:
        return f"libedgetpu {self.name}"


_LIBRARY = re.compile(r"([0-9]{1,3}\.[0-9]{1,3})(?:tf([0-9.]{3,12}))?(?:[-+~].*)?", re.IGNORECASE)
# google-coral/edgetpu issues 660 (16.0 says RuntimeVersion(14)) and 435 (the one before it says 13).
_RUNTIME_OF = {"16.0": 14, "15.0": 13}
# Google built its own releases for TensorFlow 2.5 (release-grouper of google-coral/libedgetpu).
_GOOGLE_BUILT_FOR = {"16.0": Version(2, 5), "15.0": Version(2, 5)}


def parse_library(text: str) -> EdgeTpuLibrary | None:
    """The build that a Debian version names: `16.0` is Google's, `16.0tf2.17.1-1.bookworm` says its own."""
    found = _LIBRARY.fullmatch(text)
    if found is None:
        return None
    release, tensorflow = found.groups()
    built_for = parse_version(tensorflow) if tensorflow else _GOOGLE_BUILT_FOR.get(release)
    name = release + (f"tf{tensorflow}" if tensorflow else "")
    return EdgeTpuLibrary(name, built_for, _RUNTIME_OF.get(release))


_ABI_BROKE = (2, 12)  # google-coral/edgetpu issue 812: from here on the TensorFlow 2.5 builds crash
_SEEN_TOGETHER = {((2, 13), (2, 14)), ((2, 13), (2, 15))}  # the same issue, 28 January 2024


def go_together(built_for: Version, interpreter: Interpreter) -> bool:
    """Whether a libedgetpu built for a TensorFlow release can be a delegate of this interpreter.

    The two exchange C++ structures of TensorFlow Lite, whose layout changes between releases: a mismatch is
    a segmentation fault, not an error. Nobody is known to run libedgetpu in LiteRT 2, so that is a mismatch.
    """
    if interpreter.package is Package.LITERT:
        return False
    pair = built_for.series, interpreter.tflite.series
    return pair[0] == pair[1] or max(pair) < _ABI_BROKE or pair in _SEEN_TOGETHER
