"""`fleetctl init`: a small fleet to start from."""

import shlex
from pathlib import Path
from typing import Annotated

import typer


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where the fleet's repository is.")
    ] = Path(),
    github: Annotated[
        bool, typer.Option("--github", help="Also write workflows for GitHub Actions, with a checklist.")
    ] = False,
) -> None:
    """Write a small commented fleet to start from.

    Files that are there already are left as they are. With --github, also the workflows that plan, build and
    roll out from pull requests, and .github/CHECKLIST.md, which says what to set on GitHub.
    """
    from fleetctl.forge.adoption import CHECKLIST, adoption_files
    from fleetctl.manifest.starter import starter_files, unignored, write_missing
    from fleetctl.project import DEFAULT_MANIFEST
    from fleetctl.render.sources import packaged_templates
    from fleetctl.report.console import emit_text, talk

    wanted = starter_files(packaged_templates()) | (adoption_files() if github else {})
    written, kept = write_missing(folder, wanted)
    for path in kept:
        talk.note(f"{path} is there already: left as it is")
    if (ignore := folder / ".gitignore") in kept:
        for pattern in unignored(ignore):
            talk.warn(f"add the line `{pattern}` to {ignore}: what it holds does not belong in git")
    if written:
        emit_text("\n".join(str(path) for path in written))
    talk.done(f"{len(written)} files written" if len(written) != 1 else "1 file written")
    manifest = folder / DEFAULT_MANIFEST
    talk.step(f"next: describe your boards in {manifest}")
    option = "" if manifest == DEFAULT_MANIFEST else f" -f {shlex.quote(str(manifest))}"
    talk.note(f"fleetctl validate{option}    checks it")
    talk.note(f"fleetctl build{option}       builds its models")
    talk.note(f"fleetctl plan{option}        says what a rollout would change")
    if github:
        talk.step(
            f"on GitHub: {folder / CHECKLIST} lists the environments, variables, secrets and branch rules"
        )
