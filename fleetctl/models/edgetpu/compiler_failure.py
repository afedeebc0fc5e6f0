"""What went wrong in `edgetpu_compiler`, in one sentence, and what to do about it.

The first pattern that matches speaks: the compiler prints causes first and consequences after them.
"""

import re

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.compiler_report import last_line

_KNOWN = [
    (
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        "{0} version {1} is newer than it knows",
        "convert with TensorFlow 2.15, or do without {0}: `fleetctl models check` names the layer",
    ),
    (
        r"Op builtin_code out of range: (\d+)",
        "operation {0} is newer than it knows",
        "convert with TensorFlow 2.15, without operations younger than TensorFlow 2.5",
    ),
    (
        r"Encountered unresolved custom op: ([\w-]+)",
        "it does not know the custom operation {0}",
        "use built-in operations only",
    ),
    (
        r"only supports static-sized tensors",
        "the model has tensors of no fixed size",
        "fix batch to 1 and every other size when converting",
    ),
    (
        r"Model not quantized",
        "the model is not quantized",
        "quantize it to int8 throughout, input and output included",
    ),
    (
        r"large activation tensors",
        "activations of the model are too large for the Edge TPU's memory",
        "use a smaller input, or fewer channels in the first layers",
    ),
    (
        r"'tfl\.(\w+)' op is not supported on DarwiNN",
        "it cannot translate {0}",
        "replace the operation: `fleetctl models check` names the layer",
    ),
    (
        r"Internal compiler error",
        "it failed with an internal error",
        "build again, for this error can be random; then make the largest layers smaller",
    ),
    (
        r"Model could not be parsed",
        "it could not read the model",
        "convert with TensorFlow 2.15",
    ),
    (
        r"[Tt]imed? ?out|TIMEOUT|did not complete within",
        "it gave up after its own time-out",
        "raise `edgetpu.timeout` of the model in the manifest",
    ),
    (
        r"Invalid model",
        "it calls the model invalid",
        "see what `fleetctl models check` says of it",
    ),
]
_UNKNOWN_ADVICE = "see what `fleetctl models check` says of the model"
# These come with every run of 16.0, whatever its end.
_CHATTER = re.compile(
    r"^(Started a compilation timeout timer|Compilation child process completed within timeout).*$",
    re.MULTILINE,
)


def failure(text: str, ended: str) -> BuildError:
    """The error of a run that made no model.

    Args:
        text: all it printed.
        ended: how it ended, such as "exit 1".
    """
    told = _CHATTER.sub("", text)
    for pattern, what, advice in _KNOWN:
        if found := re.search(pattern, told):
            names = [name[:60] for name in found.groups()]
            return _error(what.format(*names), ended, advice.format(*names))
    return _error(last_line(told), ended, _UNKNOWN_ADVICE)


def _error(what: str, ended: str, advice: str) -> BuildError:
    return BuildError(f"edgetpu_compiler made no model ({ended}): {what}", hint=advice)
