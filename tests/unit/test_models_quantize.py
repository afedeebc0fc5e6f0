"""Every variant of a reader of three signs, small enough to be trained and converted in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from long_matrices import takes

from fleetctl.artifact import Tensor
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Architecture,
    FolderDataset,
    Model,
    Qat,
    Quantization,
    Task,
    Training,
    VariantName,
)
from fleetctl.models import converter, evaluate, fit, qat, quantize, reader, runtime
from fleetctl.models.edgetpu import flatbuffer, versions
from fleetctl.models.edgetpu.prediction import predict
from fleetctl.models.reader import Trained
from fleetctl.models.samples import Samples
from fleetctl.models.tensorflow import tensorflow

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.xdist_group("a network to quantize"),  # which one worker trains, not each
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

SIGNS = ("D21", "N5", "N35")
MODEL = Model(
    "tiny",
    Task.CLASSIFICATION,
    FolderDataset(Path("photos")),
    Architecture(input=(20, 16, 1)),
    Training(epochs=8, batch_size=16, learning_rate=0.01),
    quantization=Quantization(representative=24, qat=Qat(epochs=2, learning_rate=0.001)),
)
FLOATS = (VariantName.FLOAT32, VariantName.DYNAMIC, VariantName.FLOAT16)
VARIANTS = (*FLOATS, *converter.INTEGER)


@dataclass(frozen=True)
class Tiny:
    trained: Trained
    samples: Samples
    files: Mapping[VariantName, bytes]

    @property
    def pixels(self) -> Any:
        """The samples prepared, uint8 (samples, 20, 16, 1)."""
        return reader.prepare_all(self.samples, self.trained.preprocess)

    @property
    def lessons(self) -> fit.Lessons:
        targets = np.array([SIGNS.index(label) for label in self.samples.labels], np.int32)
        return fit.Lessons(self.pixels, targets)

    def scores(self, variant: VariantName) -> Any:
        """What a variant answers to all samples, float32 (samples, signs)."""
        model, trained = self.files[variant], self.trained
        return evaluate.scores(
            model, trained.labels, trained.preprocess, *runtime.tensors(model), self.samples.images
        )


def patterns(count: int) -> Samples:
    """A bright mouth, disk or ripple on dark stone, `count` of each."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:20, 0:16]
    shapes = (
        np.abs(rows - 10) < 3,
        np.hypot(rows - 10, columns - 8) < 6,
        (columns // 3 + rows // 3) % 2 == 0,
    )
    samples = Samples([], [], [])
    for number in range(count):
        for sign, shape in zip(SIGNS, shapes, strict=True):
            samples.images.append((60 + 120 * shape + rng.integers(0, 40, shape.shape)).astype(np.uint8))
            samples.labels.append(sign)
            samples.names.append(f"{number:06d}_{sign}.png")
    return samples


def network() -> Any:
    """The readers' kinds of layers: a bottleneck with its shortcut, a padded one, pooling, a dense layer."""
    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    layers = tf.keras.layers

    def normal(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.8)(x)

    image = tf.keras.Input((20, 16, 1))
    start = layers.ReLU(6.0)(normal(layers.Conv2D(16, 3, 2, padding="same", use_bias=False)(image)))
    x = layers.ReLU(6.0)(normal(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(start)))
    x = layers.Add()([normal(layers.Conv2D(16, 1, use_bias=False)(x)), start])
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.ReLU(6.0)(normal(layers.Conv2D(16, 3, 2, use_bias=False)(x)))
    return tf.keras.Model(image, layers.Dense(len(SIGNS))(layers.GlobalAveragePooling2D()(x)))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    samples = patterns(16)
    spec = reader.preprocess_spec(MODEL.architecture)
    learner = network()
    targets = np.array([SIGNS.index(label) for label in samples.labels], np.int32)
    lessons = fit.Lessons(reader.prepare_all(samples, spec), targets)
    fit.fit(learner, lessons, MODEL.training, lambda *_: None)
    weights = tmp_path_factory.mktemp("tiny") / "tiny.keras"
    learner.save(weights)
    trained = Trained(SIGNS, weights, spec)
    files = {variant: quantize.convert(MODEL, trained, variant, samples) for variant in VARIANTS}
    return Tiny(trained, samples, files)


def dtypes(model: bytes, *, constant: bool) -> set[str]:
    """The types of a model's constants of more than a few values, or of what it computes."""
    graph = flatbuffer.read(model).main
    return {
        tensor.dtype
        for tensor in graph.tensors
        if tensor.constant == constant and (not constant or np.prod(tensor.shape) > 1024)
    }


@pytest.mark.parametrize(
    ("variant", "weights", "activations"),
    [
        (VariantName.FLOAT32, {"FLOAT32"}, {"FLOAT32"}),
        (VariantName.DYNAMIC, {"INT8"}, {"FLOAT32"}),
        (VariantName.FLOAT16, {"FLOAT16"}, {"FLOAT32"}),
        (VariantName.INT8, {"INT8"}, {"INT8", "UINT8"}),
        (VariantName.INT8_QAT, {"INT8"}, {"INT8", "UINT8"}),
    ],
)
def test_a_variant_holds_and_computes_what_its_name_says(
    tiny: Tiny, variant: VariantName, weights: set[str], activations: set[str]
) -> None:
    """Large constants have the type of the name; so has what runs between them, ends included."""
    model = tiny.files[variant]

    assert dtypes(model, constant=True) == weights
    assert dtypes(model, constant=False) == activations


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_takes_one_image_of_fixed_size(tiny: Tiny, variant: VariantName) -> None:
    """The batch is 1 and no dimension is left open: an Edge TPU takes static shapes only."""
    made = runtime.interpreter(tiny.files[variant], threads=1)

    assert {-1} & {
        size for tensor in made.get_tensor_details() for size in tensor["shape_signature"]
    } == set()
    assert [1, 20, 16, 1] == made.get_input_details()[0]["shape"].tolist()
    assert [1, 3] == made.get_output_details()[0]["shape"].tolist()


@pytest.mark.parametrize("variant", converter.INTEGER)
def test_the_bytes_of_a_prepared_photo_are_the_input(tiny: Tiny, variant: VariantName) -> None:
    """Integer variants take pixels as they are and give 256ths."""
    assert runtime.tensors(tiny.files[variant]) == (
        Tensor((1, 20, 16, 1), "uint8", 1.0, 0),
        Tensor((1, 3), "uint8", 1 / 256, 0),
    )


@pytest.mark.parametrize("variant", converter.INTEGER)
def test_integer_variants_run_on_an_edge_tpu_whole(tiny: Tiny, variant: VariantName) -> None:
    """No operation is newer than the compiler, and none stays on the processor."""
    prediction = predict(tiny.files[variant])

    assert [op for op in prediction.ops if op.version > versions.newest(op.op)] == []
    assert ("", 1.0) == (prediction.refusal, prediction.share)


def test_smaller_numbers_make_smaller_files(tiny: Tiny) -> None:
    """Float16 takes less than float32, and int8 weights less than both."""
    size = {variant: len(model) for variant, model in tiny.files.items()}

    assert size[VariantName.FLOAT32] > size[VariantName.FLOAT16] > size[VariantName.DYNAMIC]


@pytest.mark.parametrize(
    ("variant", "apart"),
    [
        (VariantName.DYNAMIC, 0.05),
        (VariantName.FLOAT16, 0.005),
        (VariantName.INT8, 0.1),
        (VariantName.INT8_QAT, 0.3),  # it learnt on: it is another network
    ],
)
def test_variants_answer_alike(tiny: Tiny, variant: VariantName, apart: float) -> None:
    """Every variant names the sign that float32 names, with nearly its score."""
    exact, scores = tiny.scores(VariantName.FLOAT32), tiny.scores(variant)

    assert (scores.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.95
    assert np.abs(scores - exact).max() < apart


@takes("half a minute of training")
def test_fine_tuning_goes_on_where_it_was_interrupted(tiny: Tiny) -> None:
    """Ctrl-C in the middle costs no step, and the file is byte for byte the one of an unbroken run."""
    told: list[tuple[str, int, int]] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        if len(told) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize.convert(MODEL, tiny.trained, VariantName.INT8_QAT, tiny.samples, progress=interrupt)
    resumed = quantize.convert(MODEL, tiny.trained, VariantName.INT8_QAT, tiny.samples, progress=interrupt)

    assert resumed == tiny.files[VariantName.INT8_QAT]
    assert [("fine-tune", step, 6) for step in range(4)] == told[:4]
    assert {"fine-tune, resumed at step 3 of 6"} == {stage for stage, _, _ in told[4:]}
    assert list(tiny.trained.weights.parent.iterdir()) == [tiny.trained.weights]


def test_a_fine_tuning_that_diverges_names_its_own_setting(tiny: Tiny) -> None:
    """The advice is about the rate of quantization-aware training, not about the one before."""
    fast = Qat(epochs=1, learning_rate=1e30)

    with pytest.raises(BuildError, match="training diverged") as caught:
        fit.fine_tune(network(), tiny.lessons, MODEL.training, fast, lambda *_: None)
    assert "quantization.qat.learning_rate" in caught.value.hint


def test_a_network_learns_and_answers_as_its_board_will(tiny: Tiny) -> None:
    """BatchNorm's statistics are fixed, as on a board, and its scales and shifts learn on; an input of pixels
    rounds nothing differently from one of 0..1.
    """
    images = tiny.pixels.astype(np.float32) / 256
    aware = qat.aware(tensorflow().keras.models.load_model(tiny.trained.weights, compile=False), images)
    before = {weight.name: weight.numpy() for weight in aware.weights}

    fit.fine_tune(aware, tiny.lessons, MODEL.training, MODEL.quantization.qat, lambda *_: None)

    changed = {weight.name for weight in aware.weights if (weight.numpy() != before[weight.name]).any()}
    assert [name for name in changed if "moving" in name] == []
    assert {name for name in before if "/gamma" in name or "/beta" in name} <= changed
    assert {name for name in before if "kernel:" in name} <= changed

    expected = aware.predict(images, verbose=0)
    qat.multiply_input(aware, 256.0)
    np.testing.assert_allclose(aware.predict(images * 256, verbose=0), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_that_cannot_be_simulated_is_named() -> None:
    """The toolkit's refusal reaches the user as a sentence, with the way out."""
    tf = tensorflow()
    image = tf.keras.Input((4, 4, 1))
    network = tf.keras.Model(image, tf.keras.layers.ELU(name="odd")(image))

    with pytest.raises(BuildError, match=r"odd.* is not supported") as caught:
        qat.aware(network, np.zeros((1, 4, 4, 1), np.float32))
    assert "int8-qat" in caught.value.hint


def two_headed() -> Any:
    """A module as a detector has it: one image in, two tensors out."""
    tf = tensorflow()
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 1, 4), (1, 2)) / 255)

    def answer(image: Any) -> dict[str, Any]:
        features = tf.nn.relu(tf.nn.conv2d(image, module.kernel, 2, "SAME"))
        return {"boxes": features[..., :2] + 1.0, "scores": tf.sigmoid(features[..., 2:])}

    module.answer = tf.function(answer).get_concrete_function(tf.TensorSpec((1, 8, 8, 1), tf.float32))
    return module


def test_a_network_may_have_several_outputs() -> None:
    """All outputs of an int8 model are uint8, in the order of their names."""
    images = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)

    model = converter.to_tflite(two_headed(), VariantName.INT8, images)

    outputs = runtime.interpreter(model).get_output_details()
    assert [np.uint8] * 2 == [output["dtype"] for output in outputs]
    assert pytest.approx(1 / 256) == outputs[1]["quantization"][0]  # of a sigmoid, always


def test_ranges_need_images() -> None:
    """Without a representative image there is no int8 model, and no traceback either."""
    with pytest.raises(BuildError, match="no representative image"):
        converter.to_tflite(two_headed(), VariantName.INT8, np.zeros((0, 8, 8, 1), np.uint8))


def test_what_tflite_does_not_have_is_refused() -> None:
    """An operation that has no counterpart ends in one sentence."""
    tf = tensorflow()
    module = tf.Module()
    module.answer = tf.function(lambda image: tf.linalg.eigvalsh(image[0, :, :, 0])).get_concrete_function(
        tf.TensorSpec((1, 8, 8, 1), tf.float32)
    )

    with pytest.raises(BuildError, match="cannot convert the network to float32"):
        converter.to_tflite(module, VariantName.FLOAT32, np.zeros((0, 8, 8, 1), np.uint8))


def test_a_float_model_is_not_taken_for_int8(tiny: Tiny) -> None:
    """The check of the flatbuffer finds a float tensor."""
    with pytest.raises(BuildError, match="FLOAT32"):
        converter.demand_full_integer(tiny.files[VariantName.FLOAT32])
