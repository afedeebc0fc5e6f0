"""`fleetctl explain`: which file and line set each value of a board?"""

import json
from typing import Annotated

import typer
from msgspec.structs import asdict

from fleetctl.cli import complete
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption
from fleetctl.cli.result import show

EXPLAIN_SCHEMA = "fleetctl.explain/v1"


def explain(
    board: Annotated[
        str,
        typer.Argument(
            metavar="BOARD", help="The board's name.", show_default=False, autocompletion=complete.boards
        ),
    ],
    key: Annotated[
        str | None, typer.Argument(metavar="[KEY]", help="A setting such as config.threshold. Default: all.")
    ] = None,
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Say which file and line set each value of a board.

    They come from the fleet's defaults, the board's groups in manifest order, and the board; the last wins.
    """
    from fleetctl.manifest.explain import explain as explained

    settings = explained(file, board, key)
    show(
        output,
        schema=EXPLAIN_SCHEMA,
        data={"board": board, "settings": [asdict(setting) for setting in settings]},
        columns=["setting", "value", "set by", "at"],
        rows=[[s.key, _written(s.value), s.layer, s.place if s.line else ""] for s in settings],
    )


def _written(value: object) -> str:
    """A value on one line; text without quotes, because nearly all of them are."""
    return str(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
