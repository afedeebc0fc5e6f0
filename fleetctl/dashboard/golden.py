"""The golden samples of a model beside what a board answered: pictures, expectations, answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, Artifact, Contract, GoldenAnswer
from fleetctl.dashboard.png import grey_png
from fleetctl.device.npy import NpyError, parse
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore
from fleetctl.untrusted import mapping, number, text


class Comparison(Struct, frozen=True):
    """One golden sample: what it is, and what the board said it is. `agrees` is None without an answer."""

    index: int
    expected: str
    answer: str
    score: float | None
    agrees: bool | None
    elapsed_ms: float | None


def contract_of(artifact: Artifact, store: BlobStore) -> Contract | None:
    """The contract in the local store; None where it is not there, or no contract."""
    try:
        return Contract.from_json(store.get(artifact.files[CONTRACT_FILE].sha256))
    except (BuildError, KeyError):
        return None


def picture(artifact: Artifact, store: BlobStore, index: int) -> bytes | None:
    """Golden sample `index` as PNG; None where there is none."""
    try:
        data = store.get(artifact.files[GOLDEN_FILE].sha256)
        found = parse(data)
    except (BuildError, KeyError, NpyError):
        return None
    if len(found.shape) != 3 or not 0 <= index < found.shape[0]:
        return None
    _, height, width = found.shape
    start = found.offset + index * height * width
    return grey_png(width, height, data[start : start + height * width])


def compare(contract: Contract, receipt: Mapping[str, Any]) -> tuple[Comparison, ...]:
    """Every golden sample of a contract with a board's answer (untrusted) of the same place."""
    said = receipt.get("answers")
    answers = list(map(mapping, said)) if isinstance(said, list) else []
    padded = [*answers, *({} for _ in contract.golden)]
    return tuple(
        _compared(index, golden, answer)
        for index, (golden, answer) in enumerate(zip(contract.golden, padded, strict=False))
    )


def agreement(contract: Contract | None, receipt: Mapping[str, Any]) -> float | None:
    """The share of golden samples that a receipt answers with the expected label; None for scenes."""
    if contract is None or not contract.golden:
        return None
    compared = [each.agrees for each in compare(contract, receipt)]
    return None if all(each is None for each in compared) else sum(map(bool, compared)) / len(compared)


def _compared(index: int, golden: Any, answer: Mapping[str, Any]) -> Comparison:
    elapsed = number(answer.get("elapsed_ms"))
    if isinstance(golden, GoldenAnswer):
        told = text(answer.get("label"), 100)
        agrees = told == golden.label if told else None
        score = number(answer.get("score"))
        return Comparison(index, golden.label, told or _error(answer), score, agrees, elapsed)
    found = answer.get("detections")
    told = _count(found) if isinstance(found, list) else _error(answer)
    return Comparison(index, _count(golden), told, None, None, elapsed)


def _count(detections: Sequence[object]) -> str:
    return f"{len(detections)} sign{'' if len(detections) == 1 else 's'}"


def _error(answer: Mapping[str, Any]) -> str:
    return text(answer.get("error"), 100) or "no answer"
