"""How far one model's scores lie apart on x86-64 and arm64, and on one machine under its other kernels.

    python benchmarks/arm64_scores.py --userland ROOT --data PHOTOS --artifact RELEASE/model ...

`--userland` is a folder with an arm64 Debian, Python, numpy and tflite-runtime (docs/golden.md says how to
make one); it is entered by chroot, so this needs root and qemu-user-static. `--artifact` is a folder with
`model.tflite` and `contract.json`, such as `model/` of a rendered release. The board's own `preprocess.py`
runs on both sides. Prints what the score tolerance is derived from and writes `benchmarks/arm64_scores.json`.

The same file, run as `arm64_scores.py worker FOLDER` inside, needs numpy and a TFLite runtime only.
"""

import argparse
import hashlib
import importlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SHARED = "tmp/fleetctl-arm64-scores"  # in the userland
# name -> (op resolver, threads, most samples: the reference kernels take ten times as long)
KERNELS = {
    "default": ("AUTO", 1, None),
    "two threads": ("AUTO", 2, 40),
    "no XNNPACK": ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", 1, None),
    "reference": ("BUILTIN_REF", 1, 60),
}
HOST = "x86-64"


def worker(folder: Path) -> None:
    """Score every photo of `folder` under each kernel: `<kernel>.npy`, float32 (photos, labels)."""
    sys.path.insert(0, str(folder))
    preprocess = importlib.import_module("preprocess")
    runtime = importlib.import_module("tflite_runtime.interpreter")
    contract = json.loads((folder / "contract.json").read_text())
    photos = np.load(folder / "photos.npy")
    prepared = [preprocess.prepare(photo, contract["preprocess"]) for photo in photos]
    milliseconds: dict[str, float] = {}
    said = {"prepared": hashlib.sha256(np.stack(prepared).tobytes()).hexdigest(), "ms": milliseconds}
    for name, (resolver, threads, most) in KERNELS.items():
        made = runtime.Interpreter(
            model_content=(folder / "model.tflite").read_bytes(),
            num_threads=threads,
            experimental_op_resolver_type=runtime.OpResolverType[resolver],
        )
        made.allocate_tensors()
        (ends,) = zip(made.get_input_details(), made.get_output_details(), strict=True)
        rows, begun = [], time.perf_counter()
        for image in prepared[:most]:
            made.set_tensor(ends[0]["index"], preprocess.to_input(image, contract["input"]))
            made.invoke()
            rows.append(preprocess.from_output(made.get_tensor(ends[1]["index"]), contract["output"]))
        milliseconds[name] = round(1000 * (time.perf_counter() - begun) / len(rows), 1)
        np.save(folder / f"{name}.npy", np.stack(rows))
    (folder / "said.json").write_text(json.dumps(said))


def run(
    artifact: Path, photos: np.ndarray[Any, Any], userland: Path | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the worker said, and its scores by kernel; here, or inside `userland`."""
    where = (userland / SHARED) if userland else Path(tempfile.mkdtemp())
    where.mkdir(parents=True, exist_ok=True)
    try:
        here = Path(__file__).resolve()
        for source in (artifact / "model.tflite", artifact / "contract.json", here):
            shutil.copy(source, where)
        shutil.copy(here.parent.parent / "fleetctl" / "device" / "preprocess.py", where)
        np.save(where / "photos.npy", photos)
        inside = ["chroot", str(userland), "python3", f"/{SHARED}/{here.name}", "worker", f"/{SHARED}"]
        outside = [sys.executable, str(where / here.name), "worker", str(where)]
        subprocess.run(inside if userland else outside, check=True, stderr=subprocess.DEVNULL)
        scores = {name: np.load(where / f"{name}.npy") for name in KERNELS}
        return json.loads((where / "said.json").read_text()), scores
    finally:
        shutil.rmtree(where)


def compare(reference: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Differences of what a receipt shows: the best label, and its score where the labels agree."""
    reference = reference[: len(other)]
    best = reference.argmax(axis=1)
    agree = best == other.argmax(axis=1)
    rows = np.arange(len(other))
    apart = np.abs(reference[rows, best] - other[rows, other.argmax(axis=1)])[agree]
    ordered = np.sort(reference, axis=1)
    gaps = ordered[:, -1] - ordered[:, -2]
    anything = np.abs(reference - other).max(axis=1)
    return {
        "samples": len(other),
        "labels_differ": int((~agree).sum()),
        "largest_gap_that_flipped": round(float(gaps[~agree].max(initial=0.0)), 4),
        "score_apart": {
            "median": round(float(np.median(apart)), 5),
            "p99": round(float(np.quantile(apart, 0.99)), 5),
            "max": round(float(apart.max()), 5),
            "max_where_gap_over_0.25": round(float(apart[gaps[agree] >= 0.25].max(initial=0.0)), 5),
        },
        "any_score_apart_max": round(float(anything.max()), 5),
    }


def photos_of(folder: Path, count: int) -> np.ndarray[Any, Any]:
    """Up to `count` labelled photos of the commonest size, evenly over the folder."""
    from fleetctl.models import golden
    from fleetctl.models import photos as on_disk

    samples = on_disk.read(folder)
    samples = samples.pick(golden.rows_of_one_size(samples))
    return np.stack(samples.images[:: max(1, len(samples) // count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--userland", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--artifact", type=Path, required=True, nargs="+")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--keep", type=Path, help="folder for the scores themselves, as .npy")
    chosen = parser.parse_args()
    photos = photos_of(chosen.data, chosen.samples)
    result = {}
    for artifact in chosen.artifact:
        name = json.loads((artifact / "contract.json").read_text())["variant"]
        sides = {HOST: run(artifact, photos, None), "arm64": run(artifact, photos, chosen.userland)}
        reference = sides[HOST][1]["default"]
        rows = {
            f"{machine}, {kernel}": compare(reference, scores[kernel])
            for machine, (_, scores) in sides.items()
            for kernel in KERNELS
        }
        result[name] = {
            "prepared_photos_identical": len({said["prepared"] for said, _ in sides.values()}) == 1,
            "ms_a_photo": {machine: said["ms"] for machine, (said, _) in sides.items()},
            "against": f"{HOST}, default",
            "rows": rows,
        }
        if chosen.keep:
            chosen.keep.mkdir(parents=True, exist_ok=True)
            for machine, (_, scores) in sides.items():
                np.savez(chosen.keep / f"{name}-{machine}.npz", **scores)
        for row, said in rows.items():
            apart = said["score_apart"]
            print(
                f"{name:9} {row:22} n {said['samples']:4}  labels differ {said['labels_differ']:3} "
                f"(gap up to {said['largest_gap_that_flipped']:.3f})  score apart: p99 {apart['p99']:.4f} "
                f"max {apart['max']:.4f}"
            )
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(Path(sys.argv[2]))
    else:
        main()
