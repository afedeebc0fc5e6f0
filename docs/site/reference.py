"""Makes the reference pages while the site is built, from the program itself: they cannot fall behind it."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from fleetctl.cli.manual import Part, page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each part of the reference, and the man page as a file."""
    for part in Part:
        name = "fleetctl.1" if part is Part.MAN else f"reference/{part.value}.md"
        files.append(File.generated(config, name, content=page(part)))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts pages that mkdocs.yml forgot under `More`: none may be out of reach."""
    named = set(_pages(config.nav))
    forgotten = [path.name for path in sorted(Path(config.docs_dir).glob("*.md")) if path.name not in named]
    if forgotten and config.nav is not None:
        config.nav.append({"More": forgotten})
    return config


def _pages(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    inner = entry.values() if isinstance(entry, dict) else entry or []
    return [page for each in inner for page in _pages(each)]
