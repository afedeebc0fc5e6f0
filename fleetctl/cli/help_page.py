"""`python -m fleetctl.cli.help_page` writes the page of `fleetctl --help` that is shown without Typer."""

import contextlib
import io
import os
from pathlib import Path

from fleetctl.cli.quick import COLUMNS, HELP
from fleetctl.store import atomic_write


def typer_page() -> str:
    """What Typer prints for `fleetctl --help` where there is room."""
    from fleetctl.cli.root import app

    said, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(COLUMNS)
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            app(["--help"], prog_name="fleetctl")
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return said.getvalue()


if __name__ == "__main__":
    atomic_write(Path(HELP), typer_page())
