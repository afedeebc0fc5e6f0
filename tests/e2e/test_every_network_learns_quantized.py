"""Every network that readers are built from, through quantization-aware training to an int8 file."""

from typing import Any

import numpy as np
import pytest
from long_matrices import takes
from msgspec.structs import replace

from fleetctl.manifest.schema import Architecture, ArchitectureName, Qat, Training, VariantName
from fleetctl.models import converter, fit, network, qat, runtime
from fleetctl.models.edgetpu.prediction import predict
from fleetctl.models.tensorflow import tensorflow

pytestmark = [
    pytest.mark.slow,
    takes("minutes of training"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MOBILENET = Architecture(ArchitectureName.MOBILENET_V2, 0.35, (60, 40, 1))
EFFICIENTNET = Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(64, 48, 1), blocks=11)
TWO = replace(EFFICIENTNET, members=2)
SIGNS = 3


def with_features_in_a_row(architecture: Architecture) -> Any:
    """What a logistic regression is put upon, and a dense layer in its place."""
    places = network.features(architecture)
    return tensorflow().keras.Model(places.input, tensorflow().keras.layers.Dense(SIGNS)(places.output))


def members_joined(architecture: Architecture) -> Any:
    members = [network.build(architecture, SIGNS) for _ in range(architecture.members)]
    return network.joined(architecture, members)


@pytest.mark.parametrize(
    ("architecture", "is_frozen"),
    [(MOBILENET, False), (EFFICIENTNET, False), (TWO, False), (EFFICIENTNET, True)],
    ids=["mobilenet_v2", "efficientnet_lite0", "two_members", "logistic_regression"],
)
def test_a_network_learns_on_quantized(architecture: Architecture, is_frozen: bool) -> None:
    """The file is integer to its ends, whole on an Edge TPU, and answers as the network that learnt."""
    tf = tensorflow()
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    plain = with_features_in_a_row(architecture) if is_frozen else members_joined(architecture)
    pixels = np.random.default_rng(0).integers(0, 256, (12, *architecture.input), dtype=np.uint8)
    images = pixels.astype(np.float32) / 255
    for _ in range(40):  # till BatchNorm knows the images; without, nothing comes through so many layers
        plain(images, training=True)

    aware = qat.aware(plain, images)
    targets = np.arange(len(pixels), dtype=np.int32) % SIGNS
    lessons = fit.Lessons(pixels, targets)
    fit.fine_tune(aware, lessons, Training(batch_size=6), Qat(epochs=1), lambda *_: None)
    expected = aware.predict(images, verbose=0)
    qat.multiply_input(aware, 255.0)
    model = converter.to_tflite(converter.with_batch_one(aware), VariantName.INT8_QAT, pixels)

    foretold = predict(model)
    assert (1.0, "") == (foretold.share, foretold.refusal)
    scale, zero_point = runtime.tensors(model)[1].scale, runtime.tensors(model)[1].zero_point
    made = runtime.interpreter(model)
    answers = np.stack([runtime.run(made, image[np.newaxis])[0] for image in pixels])
    apart = np.abs((answers - float(zero_point)) * scale - expected)
    # Roundings add up over fifty layers that were simulated, and kernels round otherwise than the simulation.
    assert apart.mean() < 0.1 * np.abs(expected).max()
