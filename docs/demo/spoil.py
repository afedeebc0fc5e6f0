"""Play a broken build pipeline: swap a model's weights behind the contract's back, and lock the result.

Real builds cannot do this: `fleetctl build` measures what it writes and refuses it at the gates. But
pipelines are edited, caches are poisoned and reviewers are tired; the boards ask last, and this shows it.

    python spoil.py model_artifacts
"""

import json
import sys
from pathlib import Path

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.store import BlobStore, atomic_write


def main(artifacts: Path) -> None:
    lock = json.loads((artifacts / "fleet.lock").read_text())
    store = BlobStore(artifacts / "store")
    for model, entry in lock["models"].items():
        variant = entry["variants"]["int8"]
        good = variant["files"]["model.tflite"]
        bad = scrambled(store.get(good["sha256"]))
        variant["files"]["model.tflite"] = {"sha256": store.put(bad), "size": len(bad)}
        files = {name: BlobRef(**ref) for name, ref in variant["files"].items()}
        variant["artifact"] = Artifact(model, "int8", files).digest
        print(f"{model} int8: weights scrambled, artifact is now {variant['artifact'][:8]}")
    atomic_write(artifacts / "fleet.lock", json.dumps(lock, indent=2, sort_keys=True) + "\n")


def scrambled(model: bytes) -> bytes:
    """The same graph with its largest weights reversed: it loads, it runs, it answers nonsense."""
    start, size = largest_buffer(model)
    return model[:start] + model[start : start + size][::-1] + model[start + size :]


def largest_buffer(model: bytes) -> tuple[int, int]:
    """Offset and size in bytes of the largest constant in a TFLite flatbuffer."""
    import tflite

    graph = tflite.Model.GetRootAsModel(model, 0)
    buffers = [graph.Buffers(i).DataAsNumpy() for i in range(graph.BuffersLength())]
    largest = max((b for b in buffers if not isinstance(b, int)), key=len)
    return model.index(largest.tobytes()), len(largest)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
