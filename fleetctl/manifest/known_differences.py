"""Whether the boards that rules about drift name are there: one that fits none leaves nothing aside."""

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from fleetctl.manifest.complaints import Complaint, unknown
from fleetctl.manifest.kinds import Complaints
from fleetctl.manifest.layers import find
from fleetctl.manifest.membership import is_glob
from fleetctl.manifest.schema import DriftRule
from fleetctl.manifest.tree import Items, Node

_EVERY = "a rule without `boards` holds for every board"


def check_rules(
    root: Node, rules: Sequence[DriftRule], boards: Collection[str], complaints: Complaints
) -> None:
    """Complain about names and globs of `drift.ignore` that fit no board.

    `root` is the document of fleet.yaml.
    """
    pair = find(root, ("drift", "ignore"))
    if pair is None or not isinstance(pair[1], Items):
        return
    for node, rule in zip(pair[1].items, rules, strict=True):
        for index, glob in enumerate(rule.boards):
            if not _fits_one(glob, boards):
                complaints.append(_complaint(_item(node, index), glob, boards))


def _fits_one(glob: str, boards: Collection[str]) -> bool:
    return glob in boards or (is_glob(glob) and any(fnmatchcase(name, glob) for name in boards))


def _complaint(node: Node, glob: str, boards: Collection[str]) -> Complaint:
    if is_glob(glob):
        return Complaint(node, f"no board is called like `{glob}`", _EVERY)
    return unknown(node, "board", glob, boards, _EVERY)


def _item(rule: Node, index: int) -> Node:
    pair = find(rule, ("boards",))
    return pair[1].items[index] if pair and isinstance(pair[1], Items) else rule
