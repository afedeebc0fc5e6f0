"""The wheels that a board's interpreter needs, fetched here: boards may have no internet.

pip chooses them, as it would on the board: it is told the board's Python, processor and C library. What it
fetched is listed by sha256 beside it, for `sha256sum --check` too: no lock in git names wheels, and boards
install them as root.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from fleetctl.children import environment
from fleetctl.errors import FleetError, ToolchainMissing
from fleetctl.store import Lock, naming, sha256_file

_OLDEST_GLIBC = 17  # manylinux_2_17, which is manylinux2014
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_PATIENCE = 1800.0  # seconds
_LIST = "SHA256SUMS"
_LISTED = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.+!-]{1,200}\.whl)")  # no path: it comes from elsewhere
INDEX_HINT = "let this machine reach a Python package index (pip's own settings apply)"
_PIWHEELS_HINT = (
    "PyPI lacks wheels for 32-bit ARM, piwheels has them: "
    "`export PIP_EXTRA_INDEX_URL=https://www.piwheels.org/simple`"
)
_NO_LITERT_HINT = (
    "no TFLite runtime is published for 32-bit ARM with Python 3.12 or later: take a 64-bit system, "
    "or name an interpreter that has one as the board's `python`"
)


class Platform(Struct, frozen=True):
    """What decides which wheels load: `machine` as `uname -m` says it, Python and glibc as (major, minor)."""

    machine: str
    python: tuple[int, int]
    glibc: tuple[int, int]

    @property
    def name(self) -> str:
        """Good as a folder's name: `aarch64-cp311-glibc2.36`."""
        return f"{self.machine}-cp{self.python[0]}{self.python[1]}-glibc{self.glibc[0]}.{self.glibc[1]}"

    @property
    def tags(self) -> list[str]:
        """Platform tags, newest first (PEP 600; PEP 425 has the older names)."""
        newest = self.glibc[1] if self.glibc[0] == 2 else _OLDEST_GLIBC
        tags = []
        for minor in range(newest, 4, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _LEGACY:
                tags.append(f"{_LEGACY[minor]}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    def loads(self, wheel: str) -> bool:
        """Whether a wheel's file name says that it is for this Python, processor and C library."""
        *_, abi, systems = wheel.removesuffix(".whl").split("-")
        own = "cp{}{}".format(*self.python)
        is_for_python = any(each in ("none", "abi3") or each.startswith(own) for each in abi.split("."))
        return is_for_python and not {*self.tags, "any"}.isdisjoint(systems.split("."))


class Packages(Struct, frozen=True):
    """What an environment is made of, and the Python statement that shows that it works."""

    requirements: tuple[str, ...]
    proof: str


def packages_for(platform: Platform) -> Packages:
    """The TFLite runtime that exists for a board's Python, with the numpy that it was built against.

    tflite-runtime ends at Python 3.11 and needs numpy 1; after it comes ai-edge-litert (from the files on the
    Python index, 2026).
    """
    if platform.python <= (3, 11):
        return Packages(
            ("pip", "numpy<2", "tflite-runtime>=2.7,<2.15"), "import numpy, tflite_runtime.interpreter"
        )
    return Packages(("pip", "numpy<3", "ai-edge-litert>=2"), "import numpy, ai_edge_litert.interpreter")


Run = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def fetch(platform: Platform, folder: Path, run: Run | None = None) -> Mapping[str, Path]:
    """Wheels for a platform, by file name, in a folder of their own under `folder`; fetched once.

    ai-edge-litert brings dependencies that only its converter needs; they are left out, as the proof shows.

    Raises:
        ToolchainMissing: this interpreter has no pip.
        FleetError: no wheels exist for the platform, or the index cannot be reached; pip's last word. Or a
            wheel that was fetched before is not what it was, or is another platform's.
    """
    wanted, place = packages_for(platform).requirements, folder / platform.name
    wheels = kept(place, wanted, lambda aside: _download(platform, wanted, aside, run))
    if strange := [name for name in wheels if not platform.loads(name)]:
        raise FleetError(f"{place / strange[0]} is not for {platform.name}", hint=_bring_or_delete(place))
    return wheels


def kept(place: Path, requirements: Sequence[str], download: Callable[[Path], None]) -> Mapping[str, Path]:
    """The wheels that the list of a folder names; `download` brings them where that is no list of these.

    Raises:
        FleetError: as `download` does; or one is not what was listed, or is not there.
    """
    if not _is_listed(place, requirements):
        # One at a time: the next one finds what this one fetched.
        with naming(place), Lock(place.with_name(f"{place.name}.lock"), "fetching wheels", wait=_PATIENCE):
            if not _is_listed(place, requirements):
                _bring_anew(place, requirements, download)
    return _as_listed(place)


def list_of(platform: Platform, folder: Path) -> Path:
    """The file that names each wheel of a platform with its sha256, once all of them were fetched."""
    return folder / platform.name / _LIST


def list_wheels(place: Path, requirements: Sequence[str]) -> None:
    """Write the list of the wheels in a folder: from then on they count as complete."""
    lines = [f"{sha256_file(path)}  {path.name}\n" for path in sorted(place.glob("*.whl"))]
    (place / _LIST).write_text(_heading(requirements) + "".join(lines))


def request_of(wheels: Mapping[str, Path]) -> dict[str, list[str | int]]:
    """Wheels as the board verb `prepare` takes them: file name to sha256 and size."""
    return {name: [sha256_file(path), path.stat().st_size] for name, path in wheels.items()}


def run_pip(words: Sequence[str], purpose: str, hint: str = INDEX_HINT, run: Run | None = None) -> None:
    """Run pip: a verb, and what is said behind it.

    Raises:
        ToolchainMissing: this interpreter has no pip.
        FleetError: pip failed, or took too long; its last word, and what the wheels were for.
    """
    verb, *rest = words
    done = (run or _run)([sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check", *rest])
    if "No module named pip" in done.stderr:
        raise ToolchainMissing(
            "wheels are fetched with pip, which this Python does not have",
            hint=f"install it: `{sys.executable} -m ensurepip`",
        )
    if done.returncode:
        raise FleetError(f"no wheels for {purpose}: {_last_word(done.stderr)}", hint=hint)


def _last_word(said: str) -> str:
    """What pip complained of last; of an exception that it did not expect, the line that names it."""
    complaints = [line for line in said.splitlines() if line.startswith("ERROR")]
    last = complaints[-1].removeprefix("ERROR: ") if complaints else "pip failed"
    return said.strip().rpartition("\n")[2] if last == "Exception:" else last


def _heading(requirements: Sequence[str]) -> str:
    """What the list of their wheels begins with: of other packages, it is another's list."""
    return "# pip download {}\n".format(" ".join(requirements))


def _is_listed(place: Path, requirements: Sequence[str]) -> bool:
    return _said_in(place / _LIST).startswith(_heading(requirements))


def _bring_or_delete(place: Path) -> str:
    return f"bring those that were fetched, or delete {place} to have them fetched anew"


def _said_in(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return ""


def _as_listed(place: Path) -> dict[str, Path]:
    """The wheels that the list of a folder names, and no others.

    Raises:
        FleetError: one is not what was listed, or is not there.
    """
    hint = _bring_or_delete(place)
    wheels = {}
    for line in (place / _LIST).read_text().splitlines()[1:]:
        listed = _LISTED.fullmatch(line)
        if listed is None:
            raise FleetError(f"{place / _LIST} is damaged: {line[:100]!r} lists no wheel", hint=hint)
        digest, name = listed.groups()
        path = place / name
        if not path.is_file():
            raise FleetError(f"{path} is gone: {_LIST} beside it still lists it", hint=hint)
        if (found := sha256_file(path)) != digest:
            what = f"its sha256 is {found[:12]}, in {_LIST} beside it {digest[:12]}"
            raise FleetError(f"{path} is not the wheel that was fetched: {what}", hint=hint)
        wheels[name] = path
    return wheels


def _bring_anew(place: Path, requirements: Sequence[str], download: Callable[[Path], None]) -> None:
    """Download aside, and change names only then: where there is no index, what is here stays."""
    aside = place.with_name(f"{place.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    download(aside)
    list_wheels(aside, requirements)
    shutil.rmtree(place, ignore_errors=True)
    aside.rename(place)


def _download(platform: Platform, requirements: Sequence[str], place: Path, run: Run | None) -> None:
    words = [
        *("download", "--no-deps", "--only-binary=:all:", "--implementation", "cp", "--dest", str(place)),
        *("--python-version", ".".join(map(str, platform.python))),
        *(word for tag in platform.tags for word in ("--platform", tag)),
        *requirements,
    ]
    run_pip(words, platform.name, _hint_for(platform), run)


def _hint_for(platform: Platform) -> str:
    if platform.machine != "armv7l":
        return INDEX_HINT
    return _PIWHEELS_HINT if platform.python <= (3, 11) else _NO_LITERT_HINT


def _run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        raise FleetError(
            f"pip did not fetch the wheels within {_PATIENCE / 60:.0f} minutes", hint=INDEX_HINT
        ) from None
