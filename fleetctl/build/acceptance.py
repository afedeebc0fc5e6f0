"""The gates between a built model and the lock: each measured number against the limit the manifest sets.

Pure, and fed from the metrics in the lock: a changed gate is judged again without building anything.
"""

from collections.abc import Iterator, Mapping

from fleetctl.errors import GateRefused
from fleetctl.lockfile import Metrics
from fleetctl.manifest.buildable import MIN_CLASS_SAMPLES
from fleetctl.manifest.schema import Gates, Model, VariantName

_TOO_FEW = f"max_class_drop cannot be judged: no sign has {MIN_CLASS_SAMPLES} evaluation samples"


def demand_judgeable(model: Model, evaluation: Mapping[str, int]) -> None:
    """Refuse, before anything is trained, data by which a gate could only refuse whatever is built.

    `evaluation` says how many evaluation samples each sign has.

    Raises:
        GateRefused: no sign has enough.
    """
    most = max(evaluation.values(), default=0)
    if model.gates.max_class_drop is not None and most < MIN_CLASS_SAMPLES:
        raise GateRefused(
            f"the gates would refuse whatever is built: {model.name}: {_TOO_FEW}, but at most {most}",
            hint="give more to evaluate on, or leave `gates.max_class_drop` out",
        )


def refusals(variant: VariantName, metrics: Metrics, gates: Gates) -> tuple[str, ...]:
    """Why a variant may not be released, one sentence a gate; empty where every gate lets it pass.

    A gate that cannot be judged refuses: nothing passes because it was not measured.
    """
    return tuple(_refusals(variant, metrics, gates))


def quantization_advice(built: Mapping[str, Metrics], gates: Gates) -> str:
    """What to do about an int8 variant that loses more than `max_drop` or `max_class_drop` allow.

    Args:
        built: the metrics of a model's variants, by name.

    Returns:
        One sentence that says what quantization-aware training gives; empty where int8 loses no more.
    """
    if VariantName.INT8 not in built or not _loses_too_much(built[VariantName.INT8], gates):
        return ""
    if VariantName.INT8_QAT not in built:
        return "add int8-qat to `variants`: it learns on with int8 rounding simulated, and usually loses less"
    aware = built[VariantName.INT8_QAT]
    gives = f"int8-qat {_losses(aware, gates)}"
    if not _loses_too_much(aware, gates):
        return f"{gives}: use variant int8-qat on boards, and take int8 out of `variants`"
    return f"{gives}, which is too much as well: raise `quantization.qat.epochs`, or the budget"


def _loses_too_much(metrics: Metrics, gates: Gates) -> bool:
    worst = metrics.worst_class
    return (gates.max_drop is not None and metrics.drop > gates.max_drop) or (
        gates.max_class_drop is not None and worst is not None and worst.drop > gates.max_class_drop
    )


def _losses(metrics: Metrics, gates: Gates) -> str:
    worst = metrics.worst_class
    verb = "loses" if metrics.drop >= 0 else "gains"
    of_sign = f", and at most {100 * worst.drop:.1f} of a sign ({worst.label})" if worst else ""
    return f"{verb} {100 * abs(metrics.drop):.1f} points" + (
        of_sign if gates.max_class_drop is not None else ""
    )


def _refusals(variant: VariantName, metrics: Metrics, gates: Gates) -> Iterator[str]:
    if not metrics.samples:
        yield "there are no evaluation samples to judge it by"
    if gates.min_accuracy is not None and metrics.top1 < gates.min_accuracy:
        value, limit = _apart(metrics.top1, gates.min_accuracy)
        yield f"top-1 {value} % is under min_accuracy {limit} %"
    if gates.max_drop is not None and metrics.drop > gates.max_drop:
        value, limit = _apart(metrics.drop, gates.max_drop)
        yield f"top-1 is {value} points under float32, over max_drop {limit}"
    if gates.max_class_drop is not None:
        yield from _class_drop(metrics, gates.max_class_drop)
    if gates.max_size is not None and metrics.size > gates.max_size:
        yield f"{metrics.size:,} bytes is over max_size {gates.max_size:,}"
    if gates.min_tpu_ops is not None and variant is VariantName.EDGETPU:
        yield from _tpu_ops(metrics, gates.min_tpu_ops)


def _class_drop(metrics: Metrics, most: float) -> Iterator[str]:
    worst = metrics.worst_class
    if worst is None:
        yield _TOO_FEW
    elif worst.drop > most:
        value, limit = _apart(worst.drop, most)
        yield f"sign {worst.label} is read {value} points worse than by float32, over max_class_drop {limit}"


def _tpu_ops(metrics: Metrics, least: float) -> Iterator[str]:
    if metrics.tpu_ops is None:
        yield "min_tpu_ops cannot be judged: the compiler did not say where operations run"
    elif metrics.tpu_ops < least:
        value, limit = _apart(metrics.tpu_ops, least)
        yield f"{value} % of operations run on the Edge TPU, under min_tpu_ops {limit} %"


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Two fractions in percent, with as many decimals as it takes to tell them apart (at least one)."""
    for decimals in range(1, 5):
        texts = f"{100 * value:.{decimals}f}", f"{100 * limit:.{decimals}f}"
        if texts[0] != texts[1]:
            break
    return texts
