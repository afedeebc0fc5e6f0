"""Where the mapped part of a model ends, and what makes the compiler reject a model whole."""

import time

import numpy as np
import pytest
from tiny_tflite import Net, encode

from fleetctl.errors import BuildError
from fleetctl.models.edgetpu.graph import ABSENT, Graph, Operation
from fleetctl.models.edgetpu.prediction import Prediction, causes, predict, predict_graph


def mapped(prediction: Prediction) -> list[bool]:
    return [op.mapped for op in prediction.ops]


def chain(net: Net, *names: str) -> list[int]:
    """Operations that keep shape and type, one after the other, from the input on."""
    tensors = [net.input]
    for name in names:
        tensors.append(net.op(name, (tensors[-1],), net.tensors[net.input].shape))
    return tensors


def test_a_supported_chain_is_mapped_whole() -> None:
    """Nothing is left over, and no reason is given."""
    net = Net()
    chain(net, "RELU", "LOGISTIC", "TANH")

    prediction = predict(encode(net.graph()))

    assert (3, 3, 1.0, "") == (prediction.mapped, prediction.total, prediction.share, prediction.refusal)


def test_everything_after_the_first_unsupported_operation_stays_on_the_processor() -> None:
    """The model is cut once: what follows names the operation that cut it, and its layer."""
    net = Net()
    chain(net, "RELU", "SIN", "RELU", "TANH")

    ops = predict(encode(net.graph())).ops

    assert [True, False, False, False] == [op.mapped for op in ops]
    assert "the Edge TPU has no SIN" == ops[1].reason.what
    assert ("it comes after SIN, which ends the mapped part", "t2") == (
        ops[3].reason.what,
        ops[3].reason.layer,
    )


def test_a_branch_goes_on_when_another_has_left() -> None:
    """Contiguity is a matter of the graph: what is unsupported cuts its own branch, not the file."""
    net = Net()
    trunk = net.op("RELU", (net.input,), (1, 8, 8, 3))
    left = net.op("SIN", (trunk,), (1, 8, 8, 3))
    right = net.op("TANH", (trunk,), (1, 8, 8, 3))
    further = net.op("LOGISTIC", (right,), (1, 8, 8, 3))
    joined = net.op("ADD", (left, further), (1, 8, 8, 3))

    assert [True, False, True, True, False] == mapped(predict_graph(net.graph(joined)))


def test_float_ends_stay_on_the_processor_and_end_nothing() -> None:
    """QUANTIZE of a float input comes before the mapped part, DEQUANTIZE after it."""
    net = Net(dtype="FLOAT32")
    quantized = net.op("QUANTIZE", (net.input,), (1, 8, 8, 3))
    last = net.op("RELU", (quantized,), (1, 8, 8, 3))
    net.op("DEQUANTIZE", (last,), (1, 8, 8, 3), "FLOAT32", version=2)

    assert [False, True, False] == mapped(predict(encode(net.graph())))


def test_several_operations_may_come_before_the_mapped_part() -> None:
    """CAST and QUANTIZE at the input, as MoveNet has them, leave the network behind them mapped."""
    net = Net(dtype="UINT8")
    cast = net.op("CAST", (net.input,), (1, 8, 8, 3), "FLOAT32")
    quantized = net.op("QUANTIZE", (cast,), (1, 8, 8, 3))
    net.conv(quantized)

    assert [False, False, True] == mapped(predict(encode(net.graph())))


@pytest.mark.parametrize("first", ["processor", "region"])
def test_what_a_second_input_needs_ends_nothing_only_if_it_comes_first(first: str) -> None:
    """TFLite hands out parts by turns, beginning with the kind of the file's first operation."""
    net = Net()
    side = net.tensor((1, 8, 8, 3), "FLOAT32")
    net.inputs.append(side)
    steps = {
        "processor": lambda: net.op("QUANTIZE", (side,), (1, 8, 8, 3)),
        "region": lambda: net.op("RELU", (net.input,), (1, 8, 8, 3)),
    }
    made = [steps[name]() for name in sorted(steps, key=lambda name: name != first)]
    net.op("TANH", (net.op("ADD", made, (1, 8, 8, 3)),), (1, 8, 8, 3))

    prediction = predict(encode(net.graph()))

    joined = first == "processor"
    assert {"QUANTIZE": False, "RELU": True, "ADD": joined, "TANH": joined} == {
        op.op: op.mapped for op in prediction.ops
    }


def test_a_pooled_branch_of_a_segmentation_network() -> None:
    """DeepLab's head: pooling and convolutions are mapped, enlarging the pooled point ends its branch."""
    net = Net((1, 33, 33, 16))
    pooled = net.op(
        "AVERAGE_POOL_2D", (net.input,), (1, 1, 1, 16), options={"FilterWidth": 33, "FilterHeight": 33}
    )
    point = net.conv(pooled, 16)
    enlarged = net.op("RESIZE_BILINEAR", (point, net.constant([33, 33])), (1, 33, 33, 16))
    local = net.conv(net.input, 16)
    joined = net.op("CONCATENATION", (enlarged, local), (1, 33, 33, 32), options={"Axis": 3})
    scores = net.conv(joined, 21)
    pixels = net.op("RESIZE_BILINEAR", (scores, net.constant([513, 513])), (1, 513, 513, 21))
    net.op("ARG_MAX", (pixels, net.constant([3])), (1, 513, 513), "INT64")

    prediction = predict(encode(net.graph()))

    assert [True, True, False, True, False, False, False, False] == mapped(prediction)
    assert ["RESIZE_BILINEAR"] == [op.op for op in causes(prediction)]


def test_what_is_computed_from_constants_causes_nothing() -> None:
    """A float16 file widens its weights first: what keeps it off the Edge TPU is that it computes so."""
    net = Net(dtype="FLOAT32")
    half = net.constant(np.ones((4, 1, 1, 3)), "FLOAT32")
    weights = net.op("DEQUANTIZE", (half,), (4, 1, 1, 3), "FLOAT32")
    bias = net.constant(np.zeros(4), "FLOAT32")
    net.op("CONV_2D", (net.input, weights, bias), (1, 8, 8, 4), "FLOAT32")

    prediction = predict(encode(net.graph()))

    assert [False, False] == mapped(prediction)
    assert ["CONV_2D"] == [op.op for op in causes(prediction)]


def test_what_is_computed_from_constants_is_absorbed() -> None:
    """TILE is not supported, but of constants it is done when the model is compiled."""
    net = Net((1, 4, 4, 2))
    tiled = net.op(
        "TILE", (net.constant(np.ones((1, 1, 1, 2)), "INT8"), net.constant([1, 4, 4, 1])), (1, 4, 4, 2)
    )
    net.op("SUB", (net.input, tiled), (1, 4, 4, 2))

    assert [True, True] == mapped(predict(encode(net.graph())))


def test_a_constant_that_only_the_processor_reads_stays_there() -> None:
    """Absorbed is what the mapped part reads."""
    net = Net((1, 4, 4, 2))
    last = net.op("SIN", (net.op("RELU", (net.input,), (1, 4, 4, 2)),), (1, 4, 4, 2))
    tiled = net.op(
        "TILE", (net.constant(np.ones((1, 1, 1, 2)), "INT8"), net.constant([1, 4, 4, 1])), (1, 4, 4, 2)
    )
    net.op("SUB", (last, tiled), (1, 4, 4, 2))

    ops = predict(encode(net.graph())).ops

    assert [True, False, False, False] == [op.mapped for op in ops]
    assert "its result is read on the processor" == ops[2].reason.what


def test_an_lstm_is_mapped_with_its_state() -> None:
    """Its cell state is int16 and no constant: that is how TFLite quantizes an LSTM."""
    net = Net((1, 28, 28))
    weights = [net.constant(np.ones((20, 28)), "INT8") for _ in range(4)]
    recurrent = [net.constant(np.ones((20, 20)), "INT8") for _ in range(4)]
    biases = [net.constant(np.zeros(20)) for _ in range(4)]
    state = net.tensor((1, 20), variable=True)
    cell = net.tensor((1, 20), "INT16", variable=True)
    peepholes, projection, norms = [ABSENT] * 3, [ABSENT] * 2, [ABSENT] * 4
    inputs = [net.input, *weights, *recurrent, *peepholes, *biases, *projection, state, cell, *norms]
    net.op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, (1, 28, 20), version=3)

    assert [True] == mapped(predict(encode(net.graph())))


def test_an_operation_newer_than_the_compiler_makes_it_reject_the_model() -> None:
    """TFLite of mid-2021 cannot read CONV_2D version 6: nothing is mapped, and the layer is named."""
    net = Net()
    last = chain(net, "RELU")[-1]
    net.conv(last, version=6)

    prediction = predict(encode(net.graph()))

    what = "version 6 is too new: the compiler's TFLite 2.5 ends at 5"
    assert f"CONV_2D: {what}" == prediction.refusal
    assert ["the compiler rejects the model because of CONV_2D", what] == [
        op.reason.what for op in prediction.ops
    ]
    assert "convert with TensorFlow 2.15, without grouped convolutions" == prediction.ops[1].reason.advice


@pytest.mark.parametrize("name", ["GELU", "STABLEHLO_ADD", "UNKNOWN:250", "CUSTOM:Atan"])
def test_operations_that_the_compiler_does_not_know(name: str) -> None:
    """Built in since, or custom without a kernel in the compiler: no other converter helps."""
    net = Net()
    chain(net, "RELU", name)

    prediction = predict(encode(net.graph()))

    assert prediction.refusal.startswith(f"{name}: ")
    assert 0 == prediction.mapped
    advice = prediction.ops[1].reason.advice
    assert ("without " + name in advice) != ("built-in operations only" in advice)


def test_a_size_known_at_run_time_only_makes_the_compiler_reject_the_model() -> None:
    """RESHAPE to a computed shape, as a dynamic batch makes it: the compiler takes static sizes only."""
    net = Net()
    last = chain(net, "RELU")[-1]
    shape = net.op("SHAPE", (net.input,), (4,), "INT32")
    net.op("RESHAPE", (last, shape), (1, 8, 8, 3))

    prediction = predict(encode(net.graph()))

    assert "RESHAPE: its output has no fixed size" == prediction.refusal
    assert "fix batch to 1 and every other size" == prediction.ops[2].reason.advice


def test_boxes_picked_at_the_end_leave_the_network_mapped() -> None:
    """TFLite lays out room for as many boxes as there may be: that number is a constant of the model."""
    net = Net((1, 20, 4))
    last = chain(net, "RELU")[-1]
    boxes = net.op("DEQUANTIZE", (last,), (20, 4), "FLOAT32", version=2)
    scores = net.op("DEQUANTIZE", (last,), (20,), "FLOAT32", version=2)
    most, limit = net.constant(5), net.constant(0.5, "FLOAT32")
    net.op("NON_MAX_SUPPRESSION_V4", (boxes, scores, most, limit, limit), (5,), "INT32")

    prediction = predict(encode(net.graph()))

    assert ("", [True, False, False, False]) == (prediction.refusal, mapped(prediction))


def test_as_many_boxes_as_the_network_says_make_the_compiler_reject_the_model() -> None:
    """Then there is no telling how much room they take."""
    net = Net((1, 20, 4))
    last = chain(net, "RELU")[-1]
    boxes = net.op("DEQUANTIZE", (last,), (20, 4), "FLOAT32", version=2)
    scores = net.op("DEQUANTIZE", (last,), (20,), "FLOAT32", version=2)
    most, limit = net.op("CAST", (scores,), (), "INT32"), net.constant(0.5, "FLOAT32")
    net.op("NON_MAX_SUPPRESSION_V4", (boxes, scores, most, limit, limit), (5,), "INT32")

    refusal = predict(encode(net.graph())).refusal

    assert "NON_MAX_SUPPRESSION_V4: its output has no fixed size" == refusal


def test_a_shape_with_a_hole_makes_the_compiler_reject_the_model() -> None:
    """A tensor of -1 rows has no place in memory."""
    net = Net((-1, 8, 8, 3))
    chain(net, "RELU")

    assert "RELU: a tensor has no fixed size" == predict(encode(net.graph())).refusal


def test_activations_of_int16_are_to_be_of_int8() -> None:
    """What makes int16 of the input is no harmless end of a model for the Edge TPU."""
    net = Net((1, 4), "FLOAT32")
    net.op("QUANTIZE", (net.input,), (1, 4), "INT16")

    prediction = predict(encode(net.graph()))

    assert "it is not quantized to int8" == prediction.refusal
    assert "quantize the model to int8 throughout" == prediction.ops[0].reason.advice


def test_a_float_model_is_rejected() -> None:
    """The compiler calls it "Model not quantized"."""
    net = Net((1, 4), "FLOAT32")
    net.op("RELU", (net.input,), (1, 4), "FLOAT32")

    prediction = predict(encode(net.graph()))

    assert "it is not quantized to int8" == prediction.refusal
    assert "it works on float32, not on int8 or uint8" == prediction.ops[0].reason.what


def test_a_model_with_float_activations_is_rejected_though_its_weights_are_int8() -> None:
    """Dynamic-range quantization is none for the Edge TPU."""
    net = Net((1, 4), "FLOAT32")
    net.op(
        "FULLY_CONNECTED", (net.input, net.constant(np.ones((2, 4)), "INT8")), (1, 2), "FLOAT32", version=3
    )

    assert "it is not quantized to int8" == predict(encode(net.graph())).refusal


def test_a_tensor_without_a_scale_is_named() -> None:
    """int8 alone is not quantization."""
    net = Net((1, 4))
    bare = net.tensor((1, 4), scales=0)
    net.operations.append(Operation("RELU", 1, (net.input,), (bare,)))

    (op,) = predict(encode(net.graph())).ops

    assert ("a tensor has no quantization scale", "t1") == (op.reason.what, op.reason.layer)


def test_other_subgraphs_are_not_mapped() -> None:
    """The compiler looks at the first; the others count, and say why."""
    net = Net()
    chain(net, "RELU")

    prediction = predict(encode(net.graph(), net.graph()))

    assert (2, 1, 2) == (prediction.subgraphs, prediction.mapped, prediction.total)
    assert [0, 1] == [op.subgraph for op in prediction.ops]
    assert "it is in another subgraph than the first" == prediction.ops[1].reason.what


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("GELU", "it is too new: the compiler's TFLite 2.5 has no such operation"),
        ("CUSTOM:Mine", "the compiler does not know this custom operation"),
    ],
)
def test_what_cannot_be_read_in_another_subgraph_rejects_the_model(name: str, what: str) -> None:
    """The compiler loads the whole file before it maps anything."""
    net, other = Net(), Net()
    chain(net, "RELU")
    chain(other, "RELU", name)

    prediction = predict(encode(net.graph(), other.graph()))

    assert (0, f"{name} in subgraph 1: {what}") == (prediction.mapped, prediction.refusal)
    because = f"the compiler rejects the model because of {name} in subgraph 1"
    assert [because, because, what] == [op.reason.what for op in prediction.ops]
    assert [(1, 1)] == [(op.subgraph, op.index) for op in causes(prediction)]


def test_a_compiled_model_is_not_predicted_again() -> None:
    """It says so, and points to where to look."""
    net = Net()
    chain(net, "CUSTOM:edgetpu-custom-op")

    with pytest.raises(BuildError, match="compiled for the Edge TPU already") as refused:
        predict(encode(net.graph()))

    assert "fleetctl models inspect" in refused.value.hint


def test_a_model_without_operations_has_no_share() -> None:
    """Nothing mapped of nothing is not everything."""
    net = Net()

    assert 0.0 == predict(encode(Graph(tuple(net.tensors), (), (0,), (0,)))).share


def test_operations_that_share_one_long_setting_are_judged_at_once() -> None:
    """A file of 80 kB whose 200 operations name the same 16,000 axes took half a minute."""
    net = Net((1, 8, 8, 4))
    axes = net.constant(np.zeros(16_000))
    for _ in range(200):
        net.op("MEAN", (net.input, axes), (1, 8, 8, 4))
    started = time.process_time()

    predict(encode(net.graph()))

    assert time.process_time() - started < 5


def test_a_graph_with_very_many_ends_is_judged_at_once() -> None:
    """What is absorbed is no end of the graph: the ends are gone through once, not once for each of them."""
    net = Net((1, 4))
    constant = net.constant(np.zeros(4), "INT8")
    for _ in range(2_000):
        net.op("ADD", (net.input, net.op("RELU", (constant,), (4,))), (1, 4))
    graph = net.graph(*[net.input] * 200_000)
    started = time.process_time()

    assert 1.0 == predict_graph(graph).share
    assert time.process_time() - started < 5


def test_an_output_that_is_left_out_is_not_taken_for_the_last_tensor() -> None:
    """What the last tensor of the file looks like is no concern of an operation without a second output."""
    net = Net((1, 8, 8, 3))
    kept = net.tensor((1, 8, 8, 3))
    net.operations.append(Operation("RELU", 1, (net.input,), (kept, ABSENT)))
    net.tensor((-1, 4))

    prediction = predict(encode(net.graph(kept)))

    assert ("", 1.0) == (prediction.refusal, prediction.share)
