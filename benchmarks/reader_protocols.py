"""The reader's recipe under the protocols of the literature, and under one that nobody reports.

    python benchmarks/reader_protocols.py FOLDER [FOLDER ...] [--protocol forty|plates|drawings]
                                          [--epochs N] [--input HxW] [--members N] [--fonts FONT ...]

FOLDER holds photos named PPNNNN_CODE.png, PP the plate they were cut from; several folders are pooled.

forty   the 40 signs of Glyphnet (Barucci et al., IEEE Access 9:123438, 2021), split 70/15/15, stratified and
        seeded. The validation part is measured and chooses nothing: the recipe is fixed beforehand.
plates  learn from all plates but one, and read that one; for each plate in turn. A random split leaves
        neighbours of a photo, cut from the same plate in the same light, on both sides; this one does not.
        Signs that occur on no other plate count as errors.
drawings  take away the photos of every sign that has 60 of them or fewer, learn these signs from drawings
        alone, and read the photos: how like photos drawings are.

Prints a table of the int8 model's answers, and writes all figures as JSON (--json FILE).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec.structs import replace

from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    FolderDataset,
    Font,
    Model,
    Task,
    Training,
    VariantName,
    Weights,
)
from fleetctl.models import carvers, evaluate, fonts, gardiner, photos, quantize, reader, rendered, runtime
from fleetctl.models.samples import Samples, Split, stratified
from fleetctl.report.console import emit_table, talk

_GLYPHNET = """
    D2 D21 D36 D4 D46 D58 E23 E34 F31 F35 G1 G17 G43 I10 I9 M17 M23 N35 O1 O34 O4 O49 Q1 Q3 R4 R8 S29 S34 U7
    V13 V28 V30 V31 W11 W24 X1 X8 Y1 Y5 Z1
"""
GLYPHNET = frozenset(_GLYPHNET.split())

RECIPE = Model(
    "reader",
    Task.CLASSIFICATION,
    FolderDataset(Path()),
    Architecture(
        ArchitectureName.EFFICIENTNET_LITE0, input=(128, 88, 1), blocks=11, weights=Weights.IMAGENET
    ),
    Training(epochs=16, batch_size=64, learning_rate=0.002),
)
DRAWN = 20  # samples of each sign beside the photos, where signs may be without any
FEW = 60  # photos of a sign, that are taken away where drawings have to do without


def main() -> None:
    options = _options()
    pool = Samples([], [], [])
    for folder in options.folders:
        pool = pool + photos.read(folder)
    recipe = replace(
        RECIPE,
        architecture=replace(RECIPE.architecture, input=options.input, members=options.members),
        training=replace(
            RECIPE.training, epochs=options.epochs, seed=options.seed, drawn_only=options.drawn_only
        ),
    )
    splits = {
        "forty": lambda: _forty(pool, options.seed),
        "plates": lambda: _plates(pool, _drawn(pool, options.fonts, options.seed)),
        "drawings": lambda: _drawings(pool, _drawn(pool, options.fonts, options.seed)),
    }[options.protocol]()
    rows = []
    for name, split, parts in splits:
        talk.step(f"{name}: learn from {len(split.train)} samples, measure {len(split.evaluation)} photos")
        rows += [{"measured": name, **row} for row in _measure(recipe, split, parts)]
    facts = {
        "protocol": options.protocol,
        "seed": options.seed,
        "epochs": options.epochs,
        "input": options.input,
        "members": options.members,
        "fonts": options.fonts,
        "drawn_only": options.drawn_only,
        "photos": len(pool),
        "rows": rows,
        "int8": _summary(rows),
    }
    emit_table(
        ["measured", "variant", "photos", "top-1", "taught", "top-1 of taught", "recall, by sign"],
        _table(rows),
    )
    of = f"seed {options.seed}, {options.epochs} epochs, {options.members} members"
    print(f"{of}; int8 top-1: {facts['int8']}")
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--protocol", choices=["forty", "plates", "drawings"], default="forty")
    parser.add_argument("--epochs", type=int, default=RECIPE.training.epochs)
    parser.add_argument("--input", type=_shape, default=RECIPE.architecture.input, metavar="HxW")
    parser.add_argument("--members", type=int, default=RECIPE.architecture.members)
    parser.add_argument("--fonts", nargs="+", type=Font, default=[Font.NOTO], metavar="FONT")
    parser.add_argument("--drawn-only", type=float, default=RECIPE.training.drawn_only, metavar="LOGITS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def _shape(text: str) -> tuple[int, int, int]:
    height, width = map(int, text.split("x"))
    return height, width, 1


Parts = dict[str, Samples]


def _forty(pool: Samples, seed: int) -> Iterator[tuple[str, Split, Parts]]:
    chosen = pool.pick(i for i, label in enumerate(pool.labels) if label in GLYPHNET)
    rest = stratified(chosen, seed=seed, fraction=0.15)
    inner = stratified(rest.train, seed=seed, fraction=0.15 / 0.85)
    yield (
        "40 signs",
        Split(inner.train, rest.evaluation),
        {"validation": inner.evaluation, "test": rest.evaluation},
    )


def _plates(pool: Samples, drawings: Samples) -> Iterator[tuple[str, Split, Parts]]:
    for plate in sorted({name[:2] for name in pool.names}):
        train = pool.pick(i for i, name in enumerate(pool.names) if name[:2] != plate)
        test = pool.pick(i for i, name in enumerate(pool.names) if name[:2] == plate)
        # Of a sign that only this plate has, nobody would have known to draw it, unless it is a usual one.
        known = {*gardiner.USUAL_SIGNS, *train.labels}
        drawn = drawings.pick(i for i, label in enumerate(drawings.labels) if label in known)
        yield f"plate {plate}", Split(train + drawn, test), {"test": test}


def _drawings(pool: Samples, drawn: Samples) -> Iterator[tuple[str, Split, Parts]]:
    few = {sign for sign, photos in pool.counts.items() if photos <= FEW and sign in drawn.counts}
    train = pool.pick(i for i, label in enumerate(pool.labels) if label not in few)
    test = pool.pick(i for i, label in enumerate(pool.labels) if label in few)
    yield f"{len(few)} signs from drawings", Split(train + drawn, test), {"test": test}


def _drawn(pool: Samples, from_fonts: Sequence[Font], seed: int) -> Samples:
    """Drawings of the usual signs and of those in the pool, as far as the fonts have them."""
    files = fonts.find_all(from_fonts)
    signs = rendered.drawable(sorted({*gardiner.USUAL_SIGNS, *pool.labels}), files)
    return carvers.samples(files, seed, signs, DRAWN)


def _measure(recipe: Model, split: Split, parts: Parts) -> Iterator[dict[str, object]]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, talk.progress("train") as advance:
        trained = reader.train(
            recipe,
            split,
            workdir=Path(folder),
            progress=lambda stage, _done, total: advance(1, total=total, label=stage),
        )
        models = {
            variant: quantize.convert(recipe, trained, variant, split.train)
            for variant in (VariantName.FLOAT32, VariantName.INT8)
        }
    seconds = round(time.monotonic() - begun)
    for variant, model in models.items():
        for part, samples in parts.items():
            ends = runtime.tensors(model)
            measured = evaluate.evaluate(model, trained.labels, trained.preprocess, *ends, samples)
            yield {
                "part": part,
                "variant": variant.value,
                "n": measured.n,
                "top1": measured.top1,
                "n_seen": measured.n_seen,
                "top1_seen": measured.top1_seen,
                "recall": statistics.fmean(right / of for of, right in measured.per_class.values()),
                "bytes": len(model),
                "seconds": seconds,
            }


def _summary(rows: list[dict[str, object]]) -> dict[str, float]:
    """Mean, deviation and extremes of the int8 model over what was tested."""
    top1 = [float(str(row["top1"])) for row in rows if (row["variant"], row["part"]) == ("int8", "test")]
    return {
        "mean": round(statistics.fmean(top1), 4),
        "deviation": round(statistics.pstdev(top1), 4),
        "lowest": round(min(top1), 4),
        "highest": round(max(top1), 4),
    }


def _table(rows: list[dict[str, object]]) -> list[list[str]]:
    def percent(value: object) -> str:
        return f"{100 * float(str(value)):.1f} %"

    return [
        [
            f"{row['measured']}, {row['part']}",
            str(row["variant"]),
            str(row["n"]),
            percent(row["top1"]),
            str(row["n_seen"]),
            percent(row["top1_seen"]),
            percent(row["recall"]),
        ]
        for row in rows
    ]


if __name__ == "__main__":
    main()
