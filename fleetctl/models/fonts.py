"""Finding a font with the Egyptian hieroglyphs on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fleetctl.children import environment
from fleetctl.errors import ToolchainMissing

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
_NAMES = ("NotoSansEgyptianHieroglyphs*.[to]tf", "NotoSansEgyptianHieroglyphs*.ttc", "seguihis.ttf")
_PATIENCE = 60.0  # seconds for fontconfig
_HINT = (
    "install one: `apt-get install fonts-noto-core`, "
    "`dnf install google-noto-sans-egyptian-hieroglyphs-fonts`, "
    "`brew install --cask font-noto-sans-egyptian-hieroglyphs`, or point FLEETCTL_FONT to a .ttf"
)


def find(environ: Mapping[str, str] = os.environ, places: tuple[str, ...] = _PLACES) -> Path:
    """The font to draw signs with: FLEETCTL_FONT, a known place, or what fontconfig knows.

    Raises:
        ToolchainMissing: FLEETCTL_FONT names no file, or no font has the signs.
    """
    named = environ.get("FLEETCTL_FONT")
    if named is not None:
        if not Path(named).is_file():
            raise ToolchainMissing(f"FLEETCTL_FONT names {named}, which is not a file", hint=_HINT)
        return Path(named)
    for font in (*_installed(places), *_fontconfig(environ)):
        return font
    raise ToolchainMissing("no font with Egyptian hieroglyphs is installed", hint=_HINT)


def _installed(places: tuple[str, ...]) -> Iterator[Path]:
    for name in _NAMES:
        for place in places:
            folder = Path(place).expanduser()
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
