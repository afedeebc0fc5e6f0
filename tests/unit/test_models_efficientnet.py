"""EfficientNet-Lite0 and its ImageNet weights: the network rebuilt here is the one that was published."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fleetctl.errors import BuildError
from fleetctl.manifest.schema import Architecture, ArchitectureName
from fleetctl.models import imagenet
from fleetctl.models.efficientnet_lite import BLOCKS, backbone
from fleetctl.models.network import build, joined, stems
from fleetctl.models.tensorflow import tensorflow

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

MILITARY_UNIFORM, PALACE, BELL_COTE, DAISY = 652, 698, 442, 985  # classes of ILSVRC 2012


def photos() -> NDArray[np.float32]:
    """Three photos that other packages bring along: an admiral, a Chinese palace, a flower."""
    import matplotlib
    from PIL import Image
    from sklearn.datasets import load_sample_images

    admiral = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    images = [admiral.convert("RGB"), *map(Image.fromarray, load_sample_images().images)]
    squares = []
    for image in images:
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        square = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
        squares.append(np.asarray(square, np.float32) / 255)
    return np.stack(squares)


def test_photos_are_recognized() -> None:
    """The whole network with its published classifier names what is in a photo."""
    found = imagenet.tensors()
    network = backbone((224, 224, 3), len(BLOCKS), 0.9)
    imagenet.load_into(network, found)

    features = network(photos(), training=False).numpy().mean(axis=(1, 2))
    logits = features @ found["_fc.weight"].T + found["_fc.bias"]

    admiral, palace, flower = logits.argmax(axis=1)
    assert (MILITARY_UNIFORM, DAISY) == (admiral, flower)
    assert palace in (PALACE, BELL_COTE)


def test_every_weight_has_its_place() -> None:
    """All sixteen blocks together hold as many numbers as the checkpoint, but for its classifier."""
    found = imagenet.tensors()
    network = backbone((32, 32, 3), len(BLOCKS), 0.9)

    counted = {name: value for name, value in found.items() if value.ndim and not name.startswith("_fc.")}

    assert sum(value.size for value in counted.values()) == network.count_params()


def test_a_grey_network_sees_what_a_coloured_one_sees() -> None:
    """Grey for red, green and blue and grey alone give the same features."""
    grey = np.random.default_rng(0).random((2, 48, 32, 1), np.float32)
    coloured, single = backbone((48, 32, 3), 3, 0.9), backbone((48, 32, 1), 3, 0.9)
    for network in (coloured, single):
        imagenet.load_into(network, imagenet.tensors())

    expected = coloured(np.repeat(grey, 3, axis=3), training=False).numpy()

    np.testing.assert_allclose(single(grey, training=False).numpy(), expected, atol=1e-4)


def test_activations_vary_as_the_network_remembers() -> None:
    """The pixels are scaled as they were when the network learnt: with another scale every layer's variance
    would be off by the same factor.
    """
    tf = tensorflow()
    network = backbone((224, 224, 3), 3, 0.9)
    imagenet.load_into(network, imagenet.tensors())
    batchnorms = [layer for layer in network.layers if isinstance(layer, tf.keras.layers.BatchNormalization)]
    inputs = tf.keras.Model(network.input, [layer.input for layer in batchnorms])(photos(), training=False)

    def ratio(value: NDArray[np.float32], remembered: NDArray[np.float32]) -> float:
        alive = remembered > 1e-3
        return float(np.median(value.var(axis=(0, 1, 2))[alive] / remembered[alive]))

    ratios = [
        ratio(value.numpy(), layer.moving_variance.numpy())
        for value, layer in zip(inputs, batchnorms, strict=True)
    ]

    assert 0.8 < np.exp(np.mean(np.log(ratios))) < 1.25


def test_another_file_is_not_taken_for_the_weights(tmp_path: Path) -> None:
    """A file with other bytes is refused before it is read as a pickle."""
    (tmp_path / "weights.pth").write_bytes(b"cos\nsystem\n.")

    with pytest.raises(BuildError, match="its sha256 is another"):
        imagenet.tensors(tmp_path / "weights.pth")
    with pytest.raises(BuildError, match="cannot be read"):
        imagenet.tensors(tmp_path / "gone.pth")


def test_what_learnt_at_any_size_answers_at_the_one_of_the_manifest() -> None:
    """The network that is kept has the architecture's input, and the answers of the one that learnt."""
    tf = tensorflow()
    tf.keras.utils.set_random_seed(0)
    architecture = Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(48, 32, 1), blocks=4)
    learnt = build(architecture, 4, any_size=True)
    images = np.random.default_rng(0).random((3, 48, 32, 1), np.float32)
    for shown in (images, images[:, :32]):
        learnt(shown, training=True)

    kept = joined(architecture, [learnt])

    assert (kept.input_shape, learnt.input_shape) == ((None, 48, 32, 1), (None, None, None, 1))
    np.testing.assert_allclose(
        kept(images, training=False).numpy(), learnt(images, training=False).numpy(), atol=1e-5
    )


def test_members_answer_together_as_the_mean_of_each() -> None:
    """The logits of the joined network, whose members share nothing, are the mean of the members' own."""
    tf = tensorflow()
    tf.keras.utils.set_random_seed(0)
    two = Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(32, 32, 1), blocks=3, members=2)
    members = [build(two, 4) for _ in range(2)]
    images = np.random.default_rng(0).random((3, 32, 32, 1), np.float32)
    for member in members:
        member(images, training=True)  # statistics that differ from one another

    together = joined(two, members)

    assert [layer.name for layer in stems(together)] == ["member1.conv_stem", "member0.conv_stem"]
    apart = [member(images, training=False).numpy() for member in members]
    assert not np.allclose(apart[0], apart[1])
    np.testing.assert_allclose(together(images, training=False).numpy(), np.mean(apart, axis=0), atol=1e-5)
