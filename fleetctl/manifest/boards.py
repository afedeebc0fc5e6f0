"""From what was written about boards to boards with every setting, and what is wrong with them as a whole."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from fleetctl.compatibility.verdict import Judge
from fleetctl.manifest.complaints import INVALID, Complaint, unknown
from fleetctl.manifest.compounds import Entry, is_misspelt
from fleetctl.manifest.files import Manifest
from fleetctl.manifest.kinds import Complaints
from fleetctl.manifest.layers import Layer, find, locate, merge
from fleetctl.manifest.schema import (
    Accelerator,
    Attached,
    Board,
    BoardKind,
    Machine,
    Model,
    VariantName,
    Via,
)
from fleetctl.manifest.tree import Node

_UNSET: Mapping[str, Any] = {}


class Boards:
    """Merges layers into boards. Boards in the same groups share one merged base."""

    def __init__(self, manifest: Manifest, groups: Mapping[str, tuple[str, ...]]) -> None:
        self._manifest = manifest
        self._complaints = manifest.complaints
        self._groups_of: dict[str, list[str]] = {name: [] for name in manifest.boards}
        for group, members in groups.items():
            for name in members:
                self._groups_of[name].append(group)
        self._bases: dict[tuple[str, ...], Mapping[str, Any]] = {}
        self._addresses: dict[tuple[str, int, str], str] = {}
        self._judge = Judge()

    def layers(self, name: str) -> list[Layer]:
        """Everything that has a say in a board's settings, the last word last."""
        return [
            *self._shared_layers(self._groups_of[name]),
            Layer(f"board {name}", self._manifest.boards[name]),
        ]

    def _shared_layers(self, groups: Iterable[str]) -> list[Layer]:
        defaults = defaults_entry(self._manifest)
        shared = [Layer("defaults", defaults)] if defaults else []
        return shared + [Layer(f"group {group}", self._manifest.groups[group]) for group in groups]

    def resolve(self, models: Mapping[str, Model]) -> dict[str, Board]:
        """Every board that has what a board needs; complains about the others."""
        boards: dict[str, Board] = {}
        for name, entry in self._manifest.boards.items():
            if isinstance(entry.value, dict):
                board = self._board(name, entry, models)
                if board is not None:
                    boards[name] = board
        return boards

    def _board(self, name: str, entry: Entry, models: Mapping[str, Model]) -> Board | None:
        groups = tuple(self._groups_of[name])
        settings = merge(self._base(groups), entry.value)
        if not self._has_essentials(entry, settings):
            return None
        model = models.get(settings["model"])
        if model is None:  # complained about where it is named, or where it is defined
            return None
        derive(settings, model)
        board = Board(name=name, groups=groups, **settings)
        self._check(board, model, entry)
        return board

    def _base(self, groups: tuple[str, ...]) -> Mapping[str, Any]:
        if groups not in self._bases:
            base: Mapping[str, Any] = _UNSET
            for layer in self._shared_layers(groups):
                if isinstance(layer.entry.value, dict):
                    base = merge(base, layer.entry.value)
            self._bases[groups] = {
                key: value for key, value in base.items() if key not in ("boards", "match")
            }
        return self._bases[groups]

    def _has_essentials(self, entry: Entry, settings: Mapping[str, Any]) -> bool:
        for key in ("board", "model"):
            if key not in settings and not is_misspelt(key, entry.node):
                hint = "set it here, in a group, or in `defaults`"
                self._complaints.append(Complaint(entry.key, f"`{key}` is missing", hint))
        return isinstance(settings.get("board"), BoardKind) and isinstance(settings.get("model"), str)

    def _check(self, board: Board, model: Model, entry: Entry) -> None:
        if board.variant not in model.variants:
            what = f"model `{model.name}` does not build the variant `{board.variant}`"
            self._complain(board, ["variant"], what, f"it builds {', '.join(model.variants)}")
        elif board.accelerator is Accelerator.REQUIRED and board.variant is not VariantName.EDGETPU:
            what = f"`required`, but the variant `{board.variant}` does not use an accelerator"
            builds = VariantName.EDGETPU in model.variants
            hint = "set `variant: edgetpu`" if builds else f"add `edgetpu` to the variants of `{model.name}`"
            self._complain(board, ["accelerator"], what, hint)
        elif self._leaves_edge_tpu_unused(board):
            what = "the variant `edgetpu` cannot run without an accelerator"
            self._complain(board, ["variant"], what, "set `accelerator: required`")
        else:
            self._check_compatibility(board)
        if board.via is Via.ANSIBLE:
            self._check_address(board, entry)
        elif Machine.ARMV7L in _values(board.runtime):
            what = "no module image is made for a 32-bit system, and `via: iothub` needs one"
            hint = "put a 64-bit system on it, or use `via: ansible`"
            self._complain(board, ["runtime.machine"], what, hint)

    @staticmethod
    def _leaves_edge_tpu_unused(board: Board) -> bool:
        unused = board.variant is VariantName.EDGETPU and board.accelerator is Accelerator.NONE
        return unused and _has_edge_tpu(board.board, board.attached)

    def _check_compatibility(self, board: Board) -> None:
        """What no build and no report of the board can mend."""
        if INVALID in (board.accelerator, board.attached, *_values(board.runtime)):
            return
        for refusal in self._judge.told(board):
            self._complain(board, refusal.settings, str(refusal), refusal.fix)

    def _check_address(self, board: Board, entry: Entry) -> None:
        if board.host == "":
            self._complaints.append(Complaint(entry.key, "`host` is missing", "`via: ansible` needs it"))
            return
        other = self._addresses.setdefault((board.host, board.port, board.root), board.name)
        if other != board.name:
            self._complain(board, ["host"], f"is the address of board `{other}` too", "")

    def _complain(self, board: Board, keys: Sequence[str], what: str, hint: str) -> None:
        """Complain about the first of these settings that somebody wrote, else about the board."""
        layers = self.layers(board.name)
        written = (found[2] for key in keys if (found := locate(layers, key.split("."))))
        node: Node = next(written, self._manifest.boards[board.name].key)
        self._complaints.append(Complaint(node, what, hint))


def derive(settings: dict[str, Any], model: Model) -> None:
    """Fill in the accelerator and the variant where nobody chose them.

    A board with an Edge TPU, soldered or attached, prefers it. One that uses it, or must, runs `edgetpu` if
    the model builds it; else `int8`, else the model's first variant that runs on a CPU.
    """
    has_one = _has_edge_tpu(settings["board"], settings.get("attached", Attached.NONE))
    if "accelerator" not in settings and has_one:
        settings["accelerator"] = Accelerator.PREFERRED
    if "variant" in settings:
        return
    accelerator = settings.get("accelerator", Accelerator.NONE)
    uses_accelerator = accelerator is Accelerator.REQUIRED or (
        accelerator is Accelerator.PREFERRED and has_one
    )
    settings["variant"] = _preferred(model.variants, uses_accelerator)


@lru_cache(maxsize=256)
def _preferred(variants: tuple[VariantName, ...], uses_accelerator: bool) -> VariantName:
    for_cpu = [variant for variant in variants if variant is not VariantName.EDGETPU]
    wanted = [VariantName.INT8, *for_cpu, VariantName.EDGETPU]
    if uses_accelerator:
        wanted.insert(0, VariantName.EDGETPU)
    return next(variant for variant in wanted if variant in variants)


def _has_edge_tpu(kind: BoardKind, attached: Attached) -> bool:
    return attached is not Attached.NONE or kind.has_edge_tpu


def _values(runtime: Any) -> Sequence[Any]:
    return list(runtime.values()) if isinstance(runtime, dict) else [runtime]


def check_references(manifest: Manifest, complaints: Complaints) -> None:
    """Complain once about every place that names a model which is nowhere, not once a board."""
    layers = [
        entry
        for entry in (defaults_entry(manifest), *manifest.groups.values(), *manifest.boards.values())
        if entry
    ]
    for entry in layers:
        model = entry.value.get("model") if isinstance(entry.value, dict) else None
        if isinstance(model, str) and model not in manifest.models:
            pair = find(entry.node, ("model",))
            complaints.append(unknown(pair[1] if pair else entry.key, "model", model, manifest.models))


def defaults_entry(manifest: Manifest) -> Entry | None:
    """The fleet's `defaults`, as if they were a named thing."""
    pair = find(manifest.roots[0], ("defaults",)) if manifest.roots else None
    return Entry(*pair, manifest.fleet.get("defaults")) if pair else None
