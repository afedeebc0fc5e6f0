"""`explain`: each setting of a board with its value, and the file and line that set it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from fleetctl.errors import UsageError
from fleetctl.manifest.files import read
from fleetctl.manifest.layers import Layer, leaves, locate
from fleetctl.manifest.loader import resolve
from fleetctl.manifest.schema import Board
from fleetctl.meant import did_you_mean

_NOT_SETTINGS = ("name", "groups")


class Setting(Struct, frozen=True):
    """A value with its origin. `file` is empty and `line` 0 where nobody set it and the default holds."""

    key: str  # dotted: `config.threshold`
    value: Any
    layer: str  # `default`, `defaults`, `group pi` or `board luxor-01`
    file: str = ""
    line: int = 0

    @property
    def place(self) -> str:
        """`file:line`, or `default`."""
        return f"{self.file}:{self.line}" if self.line else "default"


def explain(path: Path, board: str, key: str | None = None) -> list[Setting]:
    """The settings of `board` in the manifest at `path`, or those at and below `key`.

    Raises:
        ManifestError: the manifest is invalid.
        UsageError: there is no such board, or it has no such setting.
    """
    fleet, resolver = resolve(read(path))
    if board not in fleet.boards:
        listed = f"boards are {', '.join(sorted(fleet.boards)[:8])}{' ...' if len(fleet.boards) > 8 else ''}"
        hint = did_you_mean(board, fleet.boards) or listed
        raise UsageError(f"no board `{board}` in the fleet", hint=hint)
    settings = list(_settings(fleet.boards[board], resolver.layers(board)))
    if key is None:
        return settings
    chosen = [setting for setting in settings if setting.key == key or setting.key.startswith(f"{key}.")]
    if not chosen:
        hint = did_you_mean(key, [setting.key for setting in settings])
        raise UsageError(
            f"board `{board}` has no setting `{key}`", hint=hint or "without a key, all are shown"
        )
    return chosen


def _settings(board: Board, layers: list[Layer]) -> Iterator[Setting]:
    for name, setting in asdict(board).items():
        if name not in _NOT_SETTINGS:
            for path, value in leaves(setting, (name,)):
                yield _setting(path, value, layers)


def _setting(path: tuple[str, ...], value: object, layers: list[Layer]) -> Setting:
    key = ".".join(path)
    found = locate(layers, path)
    if found is None:
        return Setting(key, value, "default")
    layer, node, _ = found
    return Setting(key, value, layer.label, node.mark.name, node.mark.line + 1)
