"""`trained.json`: what is noted of a trained network beside its weights, so that a build can go on from them.

Labels must not part from their head: a digest lies over all of it, and the weights are named by theirs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.models import checkpoints
from fleetctl.store import atomic_write, canonical_json, sha256, sha256_file

_FILE = "trained.json"


def note(workdir: Path, weights: Path, facts: Mapping[str, Any]) -> None:
    """Note that `weights`, in `workdir`, are what the recipe gave; `facts` are JSON values about them."""
    record: dict[str, Any] = {
        "recipe": workdir.name,
        **facts,
        "weights": {"file": weights.name, "sha256": sha256_file(weights)},
    }
    atomic_write(workdir / _FILE, canonical_json({**record, "sha256": sha256(canonical_json(record))}))
    for checkpoint in workdir.glob(f"*{checkpoints.SUFFIX}"):
        checkpoint.unlink()


def recall(workdir: Path) -> tuple[Node, Path] | None:
    """What was noted, and the weights, if both are here, whole, and of this recipe."""
    try:
        root = parse((workdir / _FILE).read_bytes())
        root.key("recipe").exactly(workdir.name)
        noted = {name: value for name, value in root.mapping().items() if name != "sha256"}
        root.key("sha256").exactly(sha256(canonical_json(noted)))
        weights = workdir / Path(root.key("weights").key("file").text()).name
        return (root, weights) if sha256_file(weights) == root.key("weights").key("sha256").digest() else None
    except (OSError, Malformed):
        return None
