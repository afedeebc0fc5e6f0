"""The detector's recipe on photographed plates: learn from all but one, find the signs of that one.

    python benchmarks/detector_plates.py PLATES CROPS [--held-out 9 ...] [--reader FOLDER] [--json FILE]

PLATES is a folder of photos with boxes.csv, CROPS one of sign photos named PPNNNN_CODE.png, PP the plate they
were cut from; those of the plate held out are left out too. Each plate is held out in turn, unless --held-out
says which. FOLDER holds model.tflite and contract.json of a sign reader. It has to be trained without the
plate held out, or reads signs that it learnt.

Prints a table; fleetctl/models/detector/measure.py says how it counts. With --picture FILE a part of the last
plate is drawn with what int8 finds there, with --keep FOLDER its int8 model and contract are kept.
"""

import argparse
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import to_builtins
from msgspec.structs import replace

from fleetctl.artifact import CONTRACT_FILE, MODEL_FILE, Contract
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Model,
    Task,
    Training,
    VariantName,
    WallsDataset,
)
from fleetctl.models.detector import plates, walls
from fleetctl.models.detector.convert import convert
from fleetctl.models.detector.inference import Detector, Reader, contract
from fleetctl.models.detector.measure import DetectionEvaluation, measure
from fleetctl.models.detector.picture import draw
from fleetctl.models.detector.scenes import Scene
from fleetctl.models.detector.train import train
from fleetctl.report.console import emit_table, talk

VARIANTS = (VariantName.FLOAT32, VariantName.DYNAMIC, VariantName.FLOAT16, VariantName.INT8)
WALLS = WallsDataset(walls=300)
RECIPE = Model(
    "glyphdetector",
    Task.DETECTION,
    WALLS,
    Architecture(ArchitectureName.SSD_MOBILENET_V1, alpha=0.5, input=(320, 320, 1)),
    Training(epochs=9, batch_size=4, learning_rate=0.003),
)
PICTURED = (0, 0, 600, 480)  # x0, y0, x1, y1 of the plate
COLOURS = 64


def main() -> None:
    options = _options()
    rows = []
    for plate in options.held_out or list(plates.read(options.plates)):
        rows += list(_measure(plate, options))
    emit_table(
        ["plate", "variant", "signs", "boxes", "recall", "precision", "wrong", "unjudged", "read", "mAP@0.5"],
        [_row(row) for row in rows],
    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("plates", type=Path, metavar="PLATES")
    parser.add_argument("crops", type=Path, metavar="CROPS")
    parser.add_argument("--held-out", nargs="+", metavar="PLATE")
    parser.add_argument("--reader", type=Path, metavar="FOLDER")
    parser.add_argument("--epochs", type=int, default=RECIPE.training.epochs)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    return parser.parse_args()


def _measure(plate: str, options: argparse.Namespace) -> Iterator[dict[str, object]]:
    dataset = replace(WALLS, plates=options.plates, crops=options.crops, held_out=(plate,))
    model = replace(
        RECIPE,
        dataset=dataset,
        training=replace(RECIPE.training, epochs=options.epochs, seed=options.seed),
    )
    scenes = walls.load(dataset, base=Path.cwd(), cache=Path.cwd())
    begun, used = time.monotonic(), time.process_time()
    with TemporaryDirectory() as folder, talk.progress(f"train without plate {plate}") as advance:
        trained = train(
            model,
            scenes,
            workdir=Path(folder),
            progress=lambda stage, _done, total: advance(1, total=total, label=stage),
        )
        seconds = {"seconds": time.monotonic() - begun, "cpu_seconds": time.process_time() - used}
        built = {variant: convert(trained, variant, scenes.train) for variant in VARIANTS}
    for variant, tflite in built.items():
        detector = Detector(tflite, contract(tflite, trained, name=RECIPE.name, variant=variant))
        facts = {"plate": plate, "variant": variant.value, "bytes": len(tflite), **seconds}
        yield {**facts, "named_by": "detector", **_facts(measure(detector, scenes.evaluation))}
        if options.reader and variant is VariantName.INT8:
            named = measure(detector, scenes.evaluation, reader=_reader(options.reader))
            yield {**facts, "named_by": "reader", **_facts(named)}
        if options.keep and variant is VariantName.INT8:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / MODEL_FILE).write_bytes(tflite)
            described = contract(tflite, trained, name=RECIPE.name, variant=variant)
            (options.keep / CONTRACT_FILE).write_bytes(described.to_json())
        if options.picture and variant is VariantName.INT8:
            options.picture.write_bytes(picture(detector, scenes.evaluation[0]))


def _reader(folder: Path) -> Reader:
    described = Contract.from_json((folder / CONTRACT_FILE).read_bytes())
    return Reader((folder / MODEL_FILE).read_bytes(), described)


def picture(detector: Detector, scene: Scene) -> bytes:
    """A part of the scene with what is found on the whole of it, in few colours."""
    from PIL import Image

    drawn = Image.open(io.BytesIO(draw(scene.image, detector.detect(scene.image)))).crop(PICTURED)
    stream = io.BytesIO()
    drawn.quantize(COLOURS, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _facts(measured: DetectionEvaluation) -> dict[str, object]:
    rates = {"recall": measured.recall, "precision": measured.precision, "reading": measured.reading}
    return {**rates, **to_builtins(measured)}


def _row(row: dict[str, object]) -> list[str]:
    def percent(name: str) -> str:
        return f"{100 * float(str(row[name])):.1f} %"

    by = "" if row["named_by"] == "detector" else " + reader"
    counts = [str(row[name]) for name in ("wrong", "unjudged")]
    found = [percent("recall"), percent("precision"), *counts, percent("reading"), f"{row['map50']:.3f}"]
    signs = len(row["per_class"])  # type: ignore[arg-type]
    return [str(row["plate"]), f"{row['variant']}{by}", str(signs), str(row["n"]), *found]


if __name__ == "__main__":
    main()
