"""Why an operation stays on the processor: what is wrong, in which layer, and what to change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """`what` names no tensor, so that equal reasons can be counted; `layer` is the tensor that causes it."""

    what: str
    layer: str
    advice: str
