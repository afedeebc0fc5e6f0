"""Finding fonts with the Egyptian hieroglyphs on this machine."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fleetctl.children import environment
from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.schema import Font
from fleetctl.models.build_tools import HOW_TO_INSTALL
from fleetctl.store import sha256_file

_PLACES = (
    "~/.local/share/fonts",
    "~/.fonts",
    "~/Library/Fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/opt/homebrew/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
# Noto first: two machines that both have it draw the same signs.
_NAMES = {
    Font.NOTO: ("NotoSansEgyptianHieroglyphs*.[to]tf", "NotoSansEgyptianHieroglyphs*.ttc", "seguihis.ttf"),
    Font.NEWGARDINER: ("NewGardiner*.[to]tf",),
    Font.AEGYPTUS: ("AegyptusR*.[to]tf", "Aegyptus.[to]tf", "Aegyptus_*.[to]tf"),
}
_PATIENCE = 60.0  # seconds for fontconfig
_PACKAGE, _PACKAGED = "gardiner2unicode", "data/NewGardinerSMP.ttf"  # of the extra `build`
_HINTS = {
    Font.NOTO: "install one: `apt-get install fonts-noto-core`, "
    "`dnf install google-noto-sans-egyptian-hieroglyphs-fonts`, "
    "`brew install --cask font-noto-sans-egyptian-hieroglyphs`, or point FLEETCTL_FONT to a .ttf",
    Font.NEWGARDINER: f"{HOW_TO_INSTALL}, or copy NewGardiner.ttf to ~/.local/share/fonts",
    Font.AEGYPTUS: "`apt-get install fonts-ancient-scripts`, `dnf install gdouros-aegyptus-fonts`, "
    "or copy Aegyptus.ttf to ~/.local/share/fonts",
}


def find(
    font: Font = Font.NOTO, environ: Mapping[str, str] = os.environ, places: tuple[str, ...] = _PLACES
) -> Path:
    """The file of a font that signs are drawn with.

    NewGardiner comes in a Python package; the others lie in a known place. For Noto any font with the signs
    will do: the one that FLEETCTL_FONT names, before it, or what fontconfig knows, after it.

    Raises:
        ToolchainMissing: FLEETCTL_FONT names no file, or the font is not installed.
    """
    for found in _candidates(font, environ, places):
        return found
    missing = "font with Egyptian hieroglyphs" if font is Font.NOTO else f"font {font}"
    raise ToolchainMissing(f"no {missing} is installed", hint=_HINTS[font])


def find_all(fonts: Sequence[Font]) -> list[Path]:
    """The files of several fonts, in the given order; raises as `find`."""
    return [find(font) for font in fonts]


def versions(fonts: Sequence[Font]) -> dict[str, str]:
    """How each font's file is named in a toolchain: by the start of its sha256; raises as `find`."""
    return {f"font {font}": sha256_file(find(font))[:12] for font in fonts}


def _candidates(font: Font, environ: Mapping[str, str], places: tuple[str, ...]) -> Iterator[Path]:
    if font is Font.NOTO and (named := environ.get("FLEETCTL_FONT")) is not None:
        if not Path(named).is_file():
            raise ToolchainMissing(f"FLEETCTL_FONT names {named}, which is not a file", hint=_HINTS[font])
        yield Path(named)
    if font is Font.NEWGARDINER:
        yield from _packaged()
    yield from _installed(_NAMES[font], places)
    if font is Font.NOTO:
        yield from _fontconfig(environ)


def _packaged() -> Iterator[Path]:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is not None and spec.origin is not None and (Path(spec.origin).parent / _PACKAGED).is_file():
        yield Path(spec.origin).parent / _PACKAGED


def _installed(names: tuple[str, ...], places: tuple[str, ...]) -> Iterator[Path]:
    for name in names:
        for place in places:
            folder = Path(os.path.expanduser(place))  # noqa: PTH111 - a user without a home has no fonts there
            if folder.is_dir():
                yield from sorted(folder.rglob(name))


def _fontconfig(environ: Mapping[str, str]) -> Iterator[Path]:
    program = shutil.which("fc-list", path=environ.get("PATH"))
    if program is None:
        return
    try:
        listed = subprocess.run(
            [program, "--format=%{file}\n", ":charset=13000 13146"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
            env=environment(),
        )
    except subprocess.TimeoutExpired:
        return  # as good as not installed: a first run over thousands of fonts may take that long
    yield from (Path(line) for line in sorted(listed.stdout.splitlines()) if line)


def install() -> Path:
    """The font to draw signs with, installed first if need be and if this machine lets us.

    Raises:
        ToolchainMissing: no font is here, and no package manager could bring one.
    """
    try:
        return find()
    except ToolchainMissing:
        for command in _INSTALLERS:
            if shutil.which(command[0]):
                done = subprocess.run(command, check=False, env=environment())
                if done.returncode == 0:
                    break
        return find()


# Each is tried only where it needs no password: a set-up must not stop to ask for one.
_INSTALLERS = (
    ("apt-get", "install", "--yes", "--no-install-recommends", "fonts-noto-core"),
    (
        "sudo",
        "--non-interactive",
        "apt-get",
        "install",
        "--yes",
        "--no-install-recommends",
        "fonts-noto-core",
    ),
    ("brew", "install", "--cask", "font-noto-sans-egyptian-hieroglyphs"),
)


def main() -> int:
    """`python -m fleetctl.models.fonts`: say which font draws the signs; part of `make setup`."""
    try:
        print(f"hieroglyphs are drawn with {install()}")
    except ToolchainMissing as error:
        print(
            f"{error.message}; models with rendered signs cannot be built here\nhint: {error.hint}",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
