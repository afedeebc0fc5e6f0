"""`fleetctl models`: measure, compare and look into models. A sub-verb is a module of this package."""

import typer

from fleetctl.cli.group import Verbs
from fleetctl.cli.models.check import check
from fleetctl.cli.models.compare import compare
from fleetctl.cli.models.compatible import compatible
from fleetctl.cli.models.detect import detect
from fleetctl.cli.models.evaluate import evaluate
from fleetctl.cli.models.inspect import inspect

app = typer.Typer(
    cls=Verbs,
    help="Measure and inspect built models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    """Measure and inspect built models."""


for command in (
    check,
    compare,
    compatible,
    detect,
    evaluate,
    inspect,
):
    app.command()(command)
