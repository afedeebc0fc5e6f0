"""Makes the reference pages while the site is built, from the program itself: they cannot fall behind it."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from fleetctl.cli.manual import Part, page


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each part of the reference, and the man page as a file."""
    for part in Part:
        name = "fleetctl.1" if part is Part.MAN else f"reference/{part.value}.md"
        files.append(File.generated(config, name, content=page(part)))
    return files
