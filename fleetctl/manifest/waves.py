"""Whether the waves of a rollout reach every board, one after the other, and each at least one."""

from collections.abc import Collection, Mapping, Sequence

from fleetctl.listed import listed
from fleetctl.manifest.complaints import Complaint, unknown
from fleetctl.manifest.kinds import Complaints
from fleetctl.manifest.layers import find
from fleetctl.manifest.schema import Wave
from fleetctl.manifest.tree import Items, Node, Scalar

_Groups = Mapping[str, tuple[str, ...] | None]


def check_waves(
    root: Node,
    waves: Sequence[Wave],
    groups: _Groups,
    boards: Collection[str],
    complaints: Complaints,
) -> None:
    """Complain about waves that name no group, come twice, do not rise, or leave boards out.

    `root` is the document of fleet.yaml. `groups` gives members by name, or None for a group whose members
    could not be resolved: nothing is said about what depends on those.
    """
    pair = find(root, ("rollout", "waves"))
    if pair is None or not isinstance(pair[1], Items):
        return
    nodes = pair[1].items
    _check_groups(nodes, waves, groups, complaints)
    _check_fractions(nodes, waves, complaints)
    _check_cover(pair[0], waves, groups, boards, complaints)


def _check_groups(
    nodes: Sequence[Node], waves: Sequence[Wave], groups: _Groups, complaints: Complaints
) -> None:
    seen: dict[str, int] = {}
    for index, wave in enumerate(waves):
        if wave.group is None:
            continue
        place = _value(nodes[index], "group")
        if wave.group not in groups:
            complaints.append(unknown(place, "group", wave.group, groups))
        elif groups[wave.group] == ():
            complaints.append(Complaint(place, f"group `{wave.group}` has no boards"))
        if seen.setdefault(wave.group, index) != index:
            complaints.append(
                Complaint(place, f"group `{wave.group}` is wave {seen[wave.group] + 1} already")
            )


def _check_fractions(nodes: Sequence[Node], waves: Sequence[Wave], complaints: Complaints) -> None:
    reached = 0.0
    for index, wave in enumerate(waves):
        if wave.fraction is None:
            continue
        if wave.fraction <= reached:
            place = _value(nodes[index], "percent")
            what = f"must be more than the {reached * 100:g} of an earlier wave"
            complaints.append(Complaint(place, what, "percentages count from the start of the rollout"))
        reached = max(reached, wave.fraction)


def _check_cover(
    key: Scalar, waves: Sequence[Wave], groups: _Groups, boards: Collection[str], complaints: Complaints
) -> None:
    if any(wave.fraction == 1.0 for wave in waves):
        return
    members = [groups.get(wave.group) for wave in waves if wave.group is not None]
    if None in members:
        return
    covered = {name for some in members if some for name in some}
    # Fractions below 1 fill up from the boards that are left: they cannot be relied on to reach a given one.
    left = [name for name in boards if name not in covered]
    if left:
        count = "1 board is" if len(left) == 1 else f"{len(left)} boards are"
        hint = "end with `{percent: 100}`"
        complaints.append(Complaint(key, f"{count} in no wave: {listed(left)}", hint))


def _value(node: Node, key: str) -> Node:
    pair = find(node, (key,))
    return pair[1] if pair else node
