"""Why an operation stays on the processor: what is wrong, in which layer, and what to change."""

from msgspec import Struct


class Reason(Struct, frozen=True):
    """`what` names no tensor, so that equal reasons can be counted; `layer` is the tensor that causes it."""

    what: str
    layer: str
    advice: str
