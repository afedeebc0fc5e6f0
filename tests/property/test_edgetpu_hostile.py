"""Any bytes in a model's place: an answer or one clear error, soon, and never anything else."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_compiled import compiled_model
from tiny_tflite import Net, encode

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.compiled import inspect
from fleetctl.models.edgetpu.prediction import predict

SOON = 5.0  # seconds of processor time


def network() -> bytes:
    """A model with most of what a reader has to follow: constants, options, scales, two inputs."""
    net = Net()
    first = net.conv(net.input, options={"DilationWFactor": 1, "DilationHFactor": 1})
    second = net.op("MEAN", (first, net.constant([1, 2])), (1, 4))
    net.op("CONCATENATION", (second, net.constant([[0, 0]], "INT8")), (1, 6), options={"Axis": 1})
    return encode(net.graph())


NETWORK, COMPILED = network(), compiled_model(min_runtime=14, cached=b"\1" * 64, streamed=b"\2" * 32)


@st.composite
def damaged(draw: st.DrawFn, model: bytes) -> bytes:
    """A model with some of its bytes overwritten, often by the ends of a number's range, and perhaps cut."""
    data = bytearray(model)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(data) - 1))
        word = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x04"]))
        patch = draw(st.one_of(st.just(word), st.binary(min_size=1, max_size=4)))
        data[place : place + len(patch)] = patch
    data[4:8] = b"TFL3"  # or nothing behind it would be looked at
    return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(8, len(data)))]))])


def answers(look: Callable[[bytes], object], data: bytes) -> None:
    started = time.process_time()
    try:
        look(data)
    except BuildError as error:
        assert error.message
        assert "\n" not in error.message
    assert time.process_time() - started < SOON


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_random_bytes(data: bytes) -> None:
    """Bytes that only claim to be a model."""
    for claim in (data, data[:4] + b"TFL3" + data[4:]):
        answers(predict, claim)
        answers(inspect, claim)


@settings(max_examples=250, deadline=None)
@given(damaged(NETWORK))
def test_a_damaged_model(data: bytes) -> None:
    """Wherever a model is damaged, it is predicted or refused."""
    answers(predict, data)


@settings(max_examples=250, deadline=None)
@given(damaged(COMPILED))
def test_a_damaged_compiled_model(data: bytes) -> None:
    """Wherever a compiled model is damaged, it is read or refused."""
    answers(inspect, data)


@pytest.mark.parametrize("name", ["dense_256", "looming_64x64_3x3", "gabor_64x64_7k_4o_2s"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_real_models(shared_data: Path, name: str, data: st.DataObject) -> None:
    """The same of models that real converters and the real compiler wrote."""
    folder = shared_data / "edgetpu" / "models"
    answers(predict, data.draw(damaged((folder / f"{name}.tflite").read_bytes())))
    answers(inspect, data.draw(damaged((folder / f"{name}_edgetpu.tflite").read_bytes())))
