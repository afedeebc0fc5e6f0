"""What a compiled model says of itself, read from the package inside it."""

import pytest
from tiny_compiled import EXECUTION_ONLY, PARAMETER_CACHING, compiled_model, options, package
from tiny_tflite import Net, encode

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.compiled import inspect
from fleetctl.models.edgetpu.graph import Operation
from fleetctl.models.edgetpu.package import Executable, ExecutableType, read_package


def test_a_compiled_model_says_what_it_needs() -> None:
    """Runtime, bytes kept on the chip and bytes streamed, compiler, and what the processor still computes."""
    model = compiled_model(
        min_runtime=14,
        cached=b"\1" * 640,
        streamed=b"\2" * 64,
        compiler="384591198",
        left=("ARG_MAX", "SIN", "SIN"),
    )

    found = inspect(model)

    assert (1, 14, 640, 64, "384591198") == (
        *(found.custom_ops, found.min_runtime, found.on_chip, found.off_chip, found.compiler),
    )
    assert {"ARG_MAX": 1, "SIN": 2} == dict(found.cpu_ops)


def test_a_compiler_that_leaves_no_name_is_not_recorded() -> None:
    """Published models carry "cl/" and nothing behind it."""
    assert inspect(compiled_model(min_runtime=12, cached=b"")).compiler is None


def test_a_model_that_is_not_compiled_has_nothing_of_it() -> None:
    """Zero custom operations, and no numbers that could be taken for measured ones."""
    net = Net()
    net.op("RELU", (net.input,), (1, 8, 8, 3))

    found = inspect(encode(net.graph()))

    assert (0, None, None, None, None) == (
        *(found.custom_ops, found.min_runtime, found.on_chip, found.off_chip, found.compiler),
    )
    assert {"RELU": 1} == dict(found.cpu_ops)


def test_executables_are_told_apart_by_their_type() -> None:
    """One fills the chip's memory, the other computes and streams the rest."""
    packed = package(13, [(PARAMETER_CACHING, b"123"), (EXECUTION_ONLY, b"")], "")

    found = read_package(options(packed))

    assert 13 == found.min_runtime
    assert (
        Executable(ExecutableType.PARAMETER_CACHING, 3),
        Executable(ExecutableType.EXECUTION_ONLY, 0),
    ) == found.executables


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no flexbuffer",
        options(b""),
        options(b"\x10\0\0\0none" + b"\0" * 32),
        options(package(14, [(PARAMETER_CACHING, b"1")], "")[:60]),
        options(package(14, [(7, b"1")], "")),
    ],
    ids=["empty", "text", "no package", "no identifier", "cut", "unknown type"],
)
def test_a_damaged_package_is_one_clear_error(damaged: bytes) -> None:
    """Nothing that lies behind a broken offset is believed."""
    with pytest.raises(BuildError, match="the Edge TPU's part of the model is damaged") as refused:
        read_package(damaged)

    assert "compile the model again" == refused.value.hint


def test_a_custom_operation_without_options_is_damaged() -> None:
    """There is no package to read."""
    net = Net((1, 8))
    net.op("CUSTOM:edgetpu-custom-op", (net.input,), (1, 8))

    with pytest.raises(BuildError, match="damaged"):
        inspect(encode(net.graph()))


def test_parts_that_share_their_bytes_without_end_are_refused() -> None:
    """A thousand parts of one megabyte in a file of one: they are not unpacked a thousand times."""
    shared = Operation("CUSTOM:edgetpu-custom-op", 1, (0,), (), custom=b"\0" * 2**20)
    net = Net((1, 8))
    net.operations += [shared] * 1000

    with pytest.raises(BuildError, match="larger than the file"):
        inspect(encode(net.graph(0)))
