"""`fleetctl models detect`: where on a photo of a wall the signs are, and which."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetctl.cli.models.given import demand_photo, demand_png, model_of, write_result
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption, finite
from fleetctl.cli.result import show
from fleetctl.manifest.schema import VariantName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetctl.artifact import Contract
    from fleetctl.models.detector.inference import Detection


def detect(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A photo of a wall, PNG or JPEG.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Draw what was found on the photo, into this PNG.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="A detector of the manifest.")] = "glyphdetector",
    variant: Annotated[VariantName, typer.Option("--variant", help="Which built file.")] = VariantName.INT8,
    reader: Annotated[
        str | None, typer.Option("--reader", help="A sign reader of the manifest that names what was found.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=0.0, max=1.0, callback=finite, help="Instead of the contract's."),
    ] = None,
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", help="A folder with model.tflite and contract.json, instead of --model."),
    ] = None,
    file: FileOption = DEFAULT_MANIFEST,
    output: OutputOption = Output.TABLE,
) -> None:
    """Find the signs on a photo of a wall, of any size.

    Boxes are x0, y0, x1, y1 in pixels of the photo. With --reader a sign is what the reader sees in the box,
    and the score still says how sure the detector is that there is a sign.
    """
    from fleetctl.models.detector import pictures
    from fleetctl.models.detector.inference import Detector, Reader
    from fleetctl.models.detector.picture import draw
    from fleetctl.models.edgetpu.flatbuffer import naming
    from fleetctl.report.console import talk
    from fleetctl.report.units import plural

    demand_photo(image)
    _demand_apart(out, image)
    contract, tflite = _from_folder(artifact) if artifact else _built(file, model, variant)
    with naming(artifact or f"{contract.model}/{contract.variant}"):
        detector = Detector(tflite, contract)
    named = _built_reader(file, reader) if reader else None
    photo = pictures.read(image)
    if why := pictures.refusal(image):
        talk.note(f"a board would turn {image} away: {why}")
    with talk.progress("detect", total=detector.tile_count(photo)) as advance:
        found = detector.detect(photo, min_score=min_score, tile=lambda: advance(1))
    if named is not None:
        found = Reader(named[1], named[0]).read(photo, found)
    _emit(contract, image, found, output)
    if out is not None:
        write_result(out, draw(photo, found))
        talk.done(f"drew {plural(len(found), 'sign')} into {out}")


def _demand_apart(out: Path | None, image: Path) -> None:
    """Raise `UsageError` where the picture is no PNG by its name, or would take the place of the photo."""
    from fleetctl.errors import UsageError

    demand_png(out)
    if out is not None and _is_same(out, image):
        raise UsageError(f"{out} is the photo itself", hint="name another file to draw into")


def _is_same(out: Path, image: Path) -> bool:
    try:
        return out.samefile(image)
    except OSError:  # one is not there, or nobody may look: whoever reads or writes it says so
        return False


def _built(file: Path, model: str, variant: VariantName) -> "tuple[Contract, bytes]":
    from fleetctl.build.resolve import load_artifact
    from fleetctl.manifest.loader import load
    from fleetctl.project import Project

    fleet = load(file)
    model_of(fleet, model)
    return load_artifact(Project(file), fleet, model, variant)


def _built_reader(file: Path, model: str) -> "tuple[Contract, bytes]":
    """Its int8 variant, which every board can run."""
    return _built(file, model, VariantName.INT8)


def _from_folder(folder: Path) -> "tuple[Contract, bytes]":
    from fleetctl.artifact import CONTRACT_FILE, MODEL_FILE, Contract
    from fleetctl.errors import UsageError

    hint = f"give a folder with {MODEL_FILE} and {CONTRACT_FILE}"
    contract, model = folder / CONTRACT_FILE, folder / MODEL_FILE
    for path in (contract, model):
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise UsageError(f"{path} is not a file", hint=hint)
    try:
        return Contract.from_json(contract.read_bytes()), model.read_bytes()
    except OSError as exc:
        raise UsageError(f"{exc.filename} cannot be read: {exc.strerror}", hint=hint) from None


def _emit(contract: "Contract", image: Path, found: "Sequence[Detection]", output: Output) -> None:
    facts = [{"box": list(one.box), "sign": one.sign, "score": one.score} for one in found]
    header = {"model": contract.model, "variant": contract.variant, "image": str(image)}
    show(
        output,
        schema="fleetctl.detections/v1",
        data={**header, "detections": facts},
        columns=["sign", "score", "x0", "y0", "x1", "y1"],
        rows=[_row(one) for one in found],
        nothing=f"no sign was found in {image}",
    )


def _row(one: "Detection") -> list[str]:
    return [one.sign, f"{one.score:.2f}", *(f"{side:.0f}" for side in one.box)]
