"""Model files that a runtime does not survive as it should: a board says so in one sentence."""

import pytest
from tiny_tflite import Net, encode

from fleetctl.device.runtime import RuntimeRefused, load


def network(*shape: int) -> bytes:
    net = Net(shape, "FLOAT32")
    net.op("RELU", (net.input,), shape, "FLOAT32")
    return encode(net.graph())


@pytest.mark.parametrize(
    "model",
    [
        network(2**31 - 1, 2**20),
        network(1, 4).replace(b"t0\x00", b"\xff0\x00"),
    ],
    ids=["more memory than there is", "a name that is no text"],
)
def test_a_model_that_cannot_be_loaded_is_refused(model: bytes) -> None:
    """TFLite gives the first up for want of memory, and the second only when it is asked for its ends."""
    with pytest.raises(RuntimeRefused, match="the model does not load: "):
        load(model, "none", 1)
