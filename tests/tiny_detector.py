"""Releases of a tiny detector that finds discs and bars (see tests/cases/device/make_detectors.py)."""

from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from tiny_board import MODELS, TinyRelease, as_npy, tiny_release

from fleetctl.artifact import Contract, GoldenDetection, GoldenScene, Tensor
from fleetctl.store import canonical_json

Mark = tuple[str, int, int]  # disc or bar, and the top and left of the 8x8 cell it lies in

# Samples of 16x24: two tiles that share half their width. One has nothing on it.
GOLDEN_MARKS: tuple[tuple[Mark, ...], ...] = (
    (("disc", 0, 0), ("bar", 8, 16)),
    (("bar", 0, 8),),
    (),
    (("disc", 8, 8), ("disc", 0, 16), ("bar", 8, 0)),
)
BRIGHT = 200
SCORE = 0.785156  # of a mark with that brightness: 201 / 256


def marked(*marks: Mark, shape: tuple[int, int] = (16, 24), bright: int = BRIGHT) -> NDArray[np.uint8]:
    """Dark uint8 with marks on it."""
    pixels = np.full(shape, 10, np.uint8)
    for kind, top, left in marks:
        if kind == "disc":
            pixels[top + 2 : top + 6, left + 2 : left + 6] = bright
        else:
            pixels[top : top + 8, left : left + 2] = bright
    return pixels


def seen(*marks: Mark, height: int = 16) -> GoldenScene:
    """What the network makes of marks: boxes of 6.55 x 4.39 pixels below the left of the middle, clipped."""
    return tuple(
        GoldenDetection(
            kind, SCORE, (left + 0.24, top + 1.53, left + 4.64, min(round(top + 8.07, 2), float(height)))
        )
        for kind, top, left in sorted(marks)
    )


def marks_contract(**changes: Any) -> Contract:
    """The contract of `marks.tflite`, with fields changed at will."""
    contract = Contract(
        model="marks",
        variant="int8",
        task="detection",
        labels=("disc", "bar"),
        preprocess={"shape": [16, 16, 1], "fit": "contain", "smooth": 0},
        input=Tensor((1, 16, 16, 1), "uint8", 1.0, 0),
        output=Tensor((1, 5, 2), "uint8", 0.00390625, 0),
        golden=tuple(seen(*marks) for marks in GOLDEN_MARKS),
        score_tolerance=0.15,
        boxes=Tensor((1, 5, 4), "uint8", 0.05000000074505806, 128),
        detection={
            "maps": [{"stride": 8, "anchors": [[8, 8]]}, {"stride": 16, "anchors": [[16, 16]]}],
            "scales": [10, 10, 5, 5],
            "min_score": 0.5,
            "max_iou": 0.5,
            "most": 300,
            "overlap": 8,
        },
    )
    return replace(contract, **changes)


def marks_release(port: int, **config: Any) -> TinyRelease:
    """A release of the detector for a board with the `process` service manager."""
    golden = np.stack([marked(*marks) for marks in GOLDEN_MARKS])
    release = tiny_release(port, **config).with_json("config/smoke.json", min_agreement=0.98)
    return replace(
        release,
        files={
            **release.files,
            "model/model.tflite": (MODELS / "marks.tflite").read_bytes(),
            "model/contract.json": marks_contract().to_json(),
            "model/golden.npy": as_npy(golden),
        },
    )


def with_model(release: TinyRelease, name: str, **contract: Any) -> TinyRelease:
    """The release with another of the tiny detectors, and a contract changed to match."""
    changed = release.with_file("model/model.tflite", (MODELS / f"{name}.tflite").read_bytes())
    return changed.with_file("model/contract.json", marks_contract(**contract).to_json())


def torn_release(release: TinyRelease) -> TinyRelease:
    """The float32 detector that has a NaN among its boxes."""
    plain = {
        "input": Tensor((1, 16, 16, 1), "float32"),
        "output": Tensor((1, 5, 2), "float32"),
        "boxes": Tensor((1, 5, 4), "float32"),
    }
    return with_model(release, "torn", **plain)


def detection_terms(**changes: Any) -> dict[str, Any]:
    """The contract's `detection`, with fields changed at will."""
    return {**dict(marks_contract().detection or {}), **changes}


def spoilt(release: TinyRelease, **fields: Any) -> TinyRelease:
    """The release with a contract that nobody checked."""
    raw = {**marks_contract().to_mapping(), **fields}
    return release.with_file("model/contract.json", canonical_json(raw))
