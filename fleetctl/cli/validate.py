"""`fleetctl validate`: is the manifest valid, and what does it hold?"""

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption

if TYPE_CHECKING:
    from fleetctl.manifest.schema import Fleet

VALIDATE_SCHEMA = "fleetctl.validate/v1"


def validate(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """Check the manifest and show every problem in it.

    Exits 0 with a summary, or 10 with every problem as `file:line:column: path: what; hint`.
    """
    from fleetctl.errors import ManifestError
    from fleetctl.manifest.loader import load_and_remember
    from fleetctl.report.console import emit_json, emit_text

    try:
        fleet = load_and_remember(file, summary)
    except ManifestError as error:
        if output is Output.JSON:
            problems = [asdict(problem) for problem in error.problems]
            emit_json(VALIDATE_SCHEMA, {"valid": False, "problems": problems})
        raise
    if output is Output.JSON:
        emit_json(VALIDATE_SCHEMA, {"valid": True, "problems": [], **_counts(fleet), "digest": fleet.digest})
    else:
        emit_text(f"{summary(fleet)}: valid")


def summary(fleet: "Fleet") -> str:
    """What a fleet holds, in a few words: `7 boards, 1 model, 3 waves`."""
    counts = _counts(fleet)
    shown = ("boards", "models", "waves")
    return ", ".join(f"{counts[noun]} {noun if counts[noun] != 1 else noun[:-1]}" for noun in shown)


def _counts(fleet: "Fleet") -> dict[str, int]:
    return {
        "boards": len(fleet.boards),
        "models": len(fleet.models),
        "groups": len(fleet.groups),
        "waves": len(fleet.rollout.waves),
    }
