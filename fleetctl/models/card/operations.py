"""Which of a model's operations run on an Edge TPU, and what the file needs of a runtime."""

from fleetctl.manifest.schema import VariantName
from fleetctl.models.card.markdown import MOST, percent, table
from fleetctl.models.card.subject import Subject


def operations(subject: Subject) -> list[str]:
    from fleetctl.models.requirements import requirements

    rows = []
    reasons: list[str] = []
    for name, model in subject.models.items():
        needs = requirements(model)
        share, why = _mapping(subject, name, model)
        reasons += [f"- `{name}`: {reason}" for reason in why]
        rows.append([f"`{name}`", share, f"TFLite {needs.tflite}", str(needs.edgetpu or "-")])
    columns = ["variant", "operations on the Edge TPU", "needs at least", "Edge TPU runtime"]
    return ["## Where operations run", "", *table(columns, rows), *([""] if reasons else []), *reasons]


def _mapping(subject: Subject, name: str, model: bytes) -> tuple[str, list[str]]:
    """How much of a model runs on an Edge TPU, and what does not and why."""
    from fleetctl.models.edgetpu.prediction import predict

    locked = subject.locked.variants[name]
    if name == VariantName.EDGETPU and not locked.pending:
        return f"{percent(locked.metrics.tpu_ops)}, compiled", []
    foretold = predict(model)
    if foretold.refusal:
        return "none: the compiler refuses it", [foretold.refusal]
    whys: dict[str, list[str]] = {}
    for op in foretold.ops:
        if op.reason:
            whys.setdefault(f"{op.op}: {op.reason.what}", []).append(op.reason.layer)
    said = [f"{what} ({len(layers)})" for what, layers in list(whys.items())[:MOST]]
    return f"{foretold.mapped} of {foretold.total}, predicted", said
