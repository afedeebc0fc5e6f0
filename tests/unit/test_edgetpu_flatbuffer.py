"""Reading `.tflite` files: what is in them comes back, and what is no model is refused at once."""

import resource
import time
from pathlib import Path

import pytest
from tiny_tflite import Net, encode

from fleetctl.errors import BuildError, UsageError
from fleetctl.models.edgetpu.flatbuffer import operations, read, read_file
from fleetctl.models.edgetpu.graph import Graph, Operation

QUADRANTS = Path(__file__).parents[1] / "cases/device/quadrants.tflite"


def reader(*ops: Operation) -> bytes:
    """A model of these operations over four small tensors."""
    net = Net((1, 4))
    for _ in range(3):
        net.tensor((1, 4))
    return encode(Graph(tuple(net.tensors), ops, (0,), (3,)))


def test_a_graph_is_read_as_it_was_written() -> None:
    """Tensors, constants, versions, options and custom names survive the file."""
    net = Net()
    kept = net.conv(net.input, version=5, options={"DilationWFactor": 2, "DilationHFactor": 3})
    net.op("CUSTOM:PosenetDecoderOp", (kept,), (), "FLOAT32")
    graph = net.graph()

    again = read(encode(graph)).main

    assert graph == again
    assert [1] * 12 == list(again.tensors[1].integers())


def test_the_operations_of_a_model() -> None:
    """Name and version of each, in the order of the file."""
    found = [(op.op, op.version) for op in operations(QUADRANTS.read_bytes())]

    assert [("FULLY_CONNECTED", 1)] == found


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (b"", "does not say TFL3"),
        (b"\x00" * 100, "does not say TFL3"),
        (QUADRANTS.read_bytes()[:8], "damaged or cut short"),
        (QUADRANTS.read_bytes()[:600], "damaged or cut short"),
        (b"\xff\xff\xff\xffTFL3" + b"\xff" * 64, "damaged or cut short"),
        (reader(Operation("RELU", 1, (9,), (3,))), "names a tensor that it does not have"),
        (reader(Operation("RELU", 1, (-7,), (3,))), "names a tensor that it does not have"),
        (reader(Operation("RELU", 1, (1,), (1,))), "reads 't1' before it is made"),
        (
            reader(Operation("RELU", 1, (2,), (1,)), Operation("RELU", 1, (1,), (2,))),
            "reads 't2' before it is made",
        ),
        (
            reader(Operation("RELU", 1, (0,), (3,)), Operation("TANH", 1, (0,), (3,))),
            "writes a tensor that another one wrote",
        ),
    ],
    ids=[
        *(
            "empty",
            "zeros",
            "header",
            "cut",
            "far offsets",
            "unknown tensor",
            "negative tensor",
            "loop of one",
        ),
        *("loop of two", "written twice"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(model: bytes, why: str) -> None:
    """Truncated, cyclic and made-up files end in one clear error."""
    with pytest.raises(BuildError, match=why) as refused:
        read(model)

    assert refused.value.message.startswith("not a TFLite model: ")
    assert refused.value.hint


def test_operations_that_share_one_long_vector_are_refused_at_once() -> None:
    """Of 200 kB that stand for 400 million references few are read: time and memory have a bound."""
    model = reader(*[Operation("RELU", 1, (0,) * 20_000, ())] * 20_000)
    assert len(model) < 200_000
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()

    with pytest.raises(BuildError, match="more in it than any model"):
        read(model)

    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_constants_behind_the_flatbuffer_are_read() -> None:
    """Models over 2 GB keep them there, by offset."""
    flatbuffer = conv_with_constants_at(16, 4)

    model = read(conv_with_constants_at(len(flatbuffer), 4) + b"abcd").main

    assert b"abcd" == model.tensors[1].data


@pytest.mark.parametrize(("start", "size"), [(10**6, 4), (16, 2**63), (2**63, 4)])
def test_constants_past_the_end_are_refused(start: int, size: int) -> None:
    """A part of one would pass for the whole, and none at all for something computed."""
    with pytest.raises(BuildError, match="damaged or cut short"):
        read(conv_with_constants_at(start, size))


def conv_with_constants_at(start: int, size: int) -> bytes:
    """A convolution whose weights and bias are said to lie there."""
    net = Net()
    net.conv(net.input)
    return encode(net.graph(), behind=(start, size))


def test_a_tensor_of_many_dimensions_is_refused() -> None:
    """Their product would be a number of thousands of digits."""
    with pytest.raises(BuildError, match="a tensor of it has 500 dimensions"):
        read(encode(Net((2,) * 500).graph()))


def test_names_that_are_no_text_are_shown_all_the_same() -> None:
    """A tensor's name is taken as far as it can be read."""
    model = encode(Net((1, 4)).graph()).replace(b"t0\x00", b"\xff0\x00")

    assert "�0" == read(model).main.tensors[0].name


def test_names_do_not_reach_a_terminal_as_they_are() -> None:
    """A custom operation's name may hold escapes and new lines: they are replaced where they are read."""
    net = Net((1, 4))
    net.op("CUSTOM:a\x1b[2J\nb", (net.input,), (1, 4))

    (operation,) = operations(encode(net.graph()))

    assert "CUSTOM:a�[2J�b" == operation.op


def test_only_plain_files_of_a_model_s_size_are_opened(tmp_path: Path) -> None:
    """A folder or nothing at all is no model; neither is a file too large to be one."""
    large = tmp_path / "large.tflite"
    with large.open("wb") as file:
        file.truncate(600 * 2**20)

    with pytest.raises(UsageError, match="it is no file"):
        read_file(tmp_path)
    with pytest.raises(UsageError, match="there is no such file"):
        read_file(tmp_path / "none.tflite")
    with pytest.raises(BuildError, match="over 512 MiB"):
        read_file(large)
