"""A small reader from drawing to int8: slow for a unit test, and real."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from long_matrices import takes
from msgspec.structs import replace
from tiny_training import SHORT, Weights, fitted

from fleetctl.artifact import Tensor
from fleetctl.errors import BuildError
from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    Model,
    RenderedDataset,
    Task,
    Training,
    VariantName,
)
from fleetctl.models import converter, datasets, evaluate, quantize, runtime
from fleetctl.models.augment import augment
from fleetctl.models.fit import draw_order
from fleetctl.models.reader import Trained, emphasis, prepare_all, train
from fleetctl.models.samples import Samples, Split, drawn_name
from fleetctl.models.tensorflow import tensorflow

# TensorFlow 2.15 and its Keras use what later Pythons and libraries deprecate.
pytestmark = [
    pytest.mark.xdist_group("a reader in training"),  # which one worker trains, not each
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

SMALL = Model(
    "small",
    Task.CLASSIFICATION,
    RenderedDataset(samples_per_sign=40, signs=("N5", "N35", "O49", "S29")),
    Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(48, 32, 1), blocks=3),
    Training(epochs=3, batch_size=16, learning_rate=0.002),
)


TINY = Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(32, 32, 1), blocks=1)


@dataclass(frozen=True)
class Built:
    trained: Trained
    split: Split
    float32: bytes
    int8: bytes
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small reader, trained once for all tests here."""
    folder = tmp_path_factory.mktemp("models")
    split = datasets.load(SMALL.dataset, base=folder, cache=folder)
    told: list[tuple[str, int, int]] = []
    trained = train(SMALL, split, workdir=folder, progress=lambda *news: told.append(news))
    float32, int8 = (
        quantize.convert(SMALL, trained, variant, split.train)
        for variant in (VariantName.FLOAT32, VariantName.INT8)
    )
    return Built(trained, split, float32, int8, told)


@pytest.mark.slow
def test_training_tells_of_every_step(built: Built) -> None:
    """Progress counts each step over all epochs, and begins before TensorFlow compiles the first."""
    steps = 3 * 128 // 16

    assert built.progress == [("train", step, steps) for step in range(steps + 1)]


@pytest.mark.slow
@takes("half a minute of training")
def test_members_that_have_learnt_are_not_taught_again(built: Built, tmp_path: Path) -> None:
    """Stopped in the second of two, a training goes on there, and ends as one that nobody stopped."""
    tiny = replace(SMALL, architecture=replace(TINY, members=2), training=Training(epochs=1, batch_size=64))
    steps = 128 // 64
    told: list[tuple[str, int, int]] = []

    def stop(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))
        if (stage, done) == ("train 2 of 2", 1):
            raise KeyboardInterrupt

    for folder in ("stopped", "whole"):
        (tmp_path / folder).mkdir()
    with pytest.raises(KeyboardInterrupt):
        train(tiny, built.split, workdir=tmp_path / "stopped", progress=stop)
    again: list[tuple[str, int, int]] = []
    stopped = train(
        tiny, built.split, workdir=tmp_path / "stopped", progress=lambda *news: again.append(news)
    )
    whole = train(tiny, built.split, workdir=tmp_path / "whole")

    first = [("train 1 of 2", step, steps) for step in range(steps + 1)]
    assert told == [*first, ("train 2 of 2", 0, steps), ("train 2 of 2", 1, steps)]
    resumed = f"train 2 of 2, resumed at step 1 of {steps}"
    assert again == [(resumed, 1, steps), (resumed, 2, steps)]
    one, other = (
        tensorflow().keras.models.load_model(trained.weights, compile=False).get_weights()
        for trained in (stopped, whole)
    )
    assert all((a == b).all() for a, b in zip(one, other, strict=True))


@takes("half a minute of training")
@pytest.mark.slow
def test_the_first_epochs_see_smaller_pictures(built: Built, tmp_path: Path) -> None:
    """Interrupted among the small ones or after them, a training ends as one that nobody stopped."""
    tiny = replace(
        SMALL,
        architecture=replace(TINY, input=(64, 48, 1)),
        training=Training(epochs=2, small_epochs=1, batch_size=64),
    )

    def trained_in(folder: str, stop_at: int = -1) -> Weights:
        (tmp_path / folder).mkdir(exist_ok=True)

        def stop(_stage: str, done: int, _total: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        trained = train(tiny, built.split, workdir=tmp_path / folder, progress=stop)
        network = tensorflow().keras.models.load_model(trained.weights, compile=False)
        assert network.input_shape == (None, 64, 48, 1)
        return list(network.get_weights())

    whole = trained_in("whole")
    for step in (1, 3):
        with pytest.raises(KeyboardInterrupt):
            trained_in("stopped", stop_at=step)
    again = trained_in("stopped")

    assert all((one == other).all() for one, other in zip(whole, again, strict=True))


@pytest.mark.parametrize(
    ("architecture", "training", "complaint"),
    [
        (
            Architecture(input=(48, 32, 1)),
            Training(small_epochs=1),
            "cannot learn from smaller pictures first",
        ),
        (
            Architecture(ArchitectureName.EFFICIENTNET_LITE0, input=(64, 48, 1)),
            Training(epochs=2, small_epochs=3),
            r"`small_epochs` \(3\) are of `epochs`, which are 2",
        ),
    ],
)
def test_smaller_pictures_are_refused_where_they_cannot_be(
    architecture: Architecture, training: Training, complaint: str, tmp_path: Path
) -> None:
    """Before anything is learnt, with the setting to change."""
    model = replace(SMALL, architecture=architecture, training=training)
    nothing = Samples([], [], [])

    with pytest.raises(BuildError, match=complaint):
        train(model, Split(nothing, nothing), workdir=tmp_path)


@pytest.mark.slow
def test_signs_that_only_drawings_show_are_favoured(built: Built, tmp_path: Path) -> None:
    """By what the manifest says, and no other sign is: the rest of the network is the same."""
    seen = built.split.train
    names = [
        f"{number}.png" if label == "N5" else name
        for number, (label, name) in enumerate(zip(seen.labels, seen.names, strict=True))
    ]
    split = Split(Samples(seen.images, seen.labels, names), built.split.evaluation)
    tiny = replace(SMALL, architecture=TINY)
    heads = []
    for by in (0.0, 1.25):
        model = replace(tiny, training=Training(epochs=1, batch_size=64, drawn_only=by))
        (folder := tmp_path / str(by)).mkdir()
        trained = train(model, split, workdir=folder)
        network = tensorflow().keras.models.load_model(trained.weights, compile=False)
        heads.append(network.layers[-1].get_weights())

    (kernel, bias), (same, favoured) = heads
    assert (kernel == same).all()
    np.testing.assert_allclose(favoured - bias, [1.25, 0.0, 1.25, 1.25], atol=1e-6)  # N35, N5, O49, S29


@pytest.mark.slow
def test_the_int8_model_is_integer_to_its_ends(built: Built) -> None:
    """Input and output are uint8 with batch 1; the input's bytes are the prepared pixels themselves."""
    converter.demand_full_integer(built.int8)

    assert runtime.tensors(built.int8) == (
        Tensor((1, 48, 32, 1), "uint8", 1.0, 0),
        Tensor((1, 4), "uint8", 1 / 256, 0),
    )


@pytest.mark.slow
def test_a_float_model_is_not_taken_for_int8(built: Built) -> None:
    """The check of the flatbuffer finds a float tensor."""
    with pytest.raises(BuildError, match="FLOAT32"):
        converter.demand_full_integer(built.float32)


@pytest.mark.slow
def test_the_network_and_its_files_agree(built: Built) -> None:
    """Keras, float32 and int8 score the same photos nearly alike: nothing is lost on the way."""
    tf = tensorflow()
    images = built.split.evaluation.images
    network = tf.keras.models.load_model(built.trained.weights, compile=False)
    prepared = prepare_all(built.split.evaluation, built.trained.preprocess).astype(np.float32) / 255.0
    expected = tf.nn.softmax(network.predict(prepared, verbose=0)).numpy()

    exact, quantized = (
        evaluate.scores(
            model, built.trained.labels, built.trained.preprocess, *runtime.tensors(model), images
        )
        for model in (built.float32, built.int8)
    )

    np.testing.assert_allclose(exact, expected, atol=1e-3)
    assert np.abs(quantized - exact).mean() < 0.1


@pytest.mark.slow
def test_variations_keep_to_shape_and_range() -> None:
    """However an image is varied, the network sees grey levels in 0..1; the same seed varies it alike."""
    tf = tensorflow()
    images = tf.constant(np.random.default_rng(0).random((8, 20, 16, 1), np.float32))

    first, again, other = (augment(images, tf.constant([0, step])).numpy() for step in (1, 1, 2))

    assert first.shape == (8, 20, 16, 1)
    assert 0.0 <= first.min() <= first.max() <= 1.0
    assert (first == again).all()
    assert np.abs(first - other).mean() > 0.01
    assert np.abs(first[0] - first[1]).mean() > 0.01


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights() -> None:
    """Training twice on one machine gives identical weights; another seed gives others."""
    first, second, third = fitted(), fitted(), fitted(replace(SHORT, seed=1))

    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert any((a != b).any() for a, b in zip(first, third, strict=True))


@pytest.mark.slow
def test_a_diverging_training_stops() -> None:
    """A loss that is no number ends the build with advice."""
    with pytest.raises(BuildError, match="training diverged") as caught:
        fitted(replace(SHORT, learning_rate=1e30))

    assert "learning_rate" in caught.value.hint


@pytest.mark.slow
def test_an_interrupted_training_passes_on_the_interrupt() -> None:
    """Ctrl-C in the middle is not taken for the end of training."""

    def interrupt(stage: str, done: int, total: int) -> None:
        del stage, total
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(progress=interrupt)


@pytest.mark.slow
@pytest.mark.parametrize("variant", [VariantName.EDGETPU])
def test_other_variants_are_refused(built: Built, variant: VariantName) -> None:
    """A variant that is not converted from trained weights is refused, naming those that are."""
    with pytest.raises(BuildError, match=variant.value) as caught:
        quantize.convert(SMALL, built.trained, variant, built.split.train)
    assert "int8" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (Architecture(ArchitectureName.SSD_MOBILENET_V1), "ssd_mobilenet_v1 is no architecture for"),
        (Architecture(input=(16, 16, 1)), "cannot take an input of 16x16x1"),
        (Architecture(input=(48, 32, 2)), "cannot take an input of 48x32x2"),
    ],
)
def test_a_network_that_cannot_be_made_is_refused(
    built: Built, architecture: Architecture, message: str, tmp_path: Path
) -> None:
    """An unknown name or an input the network cannot take is said before anything is trained."""
    with pytest.raises(BuildError, match=message):
        train(replace(SMALL, architecture=architecture), built.split, workdir=tmp_path)


@given(st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(0, 5))
def test_rare_signs_are_drawn_more_often_than_they_occur(sizes: list[int], seed: int) -> None:
    """A rare sign is not drowned, and no photo comes twice before all of its sign came once."""
    targets = np.repeat(np.arange(len(sizes)), sizes)
    count = 40 * len(targets)

    drawn = draw_order(targets, count, seed=seed)

    shares = Counter(targets[drawn].tolist())
    rarest, commonest = int(np.argmin(sizes)), int(np.argmax(sizes))
    assert shares[rarest] / count >= 0.7 * min(sizes) / sum(sizes)
    for sign, size in ((rarest, min(sizes)), (commonest, max(sizes))):
        times = Counter(drawn[targets[drawn] == sign].tolist())
        assert len(times) == min(size, shares[sign])
        assert max(times.values()) - min(times.values()) <= 1


@pytest.mark.parametrize("drawings", [20, 80])
def test_photos_weigh_as_much_as_drawings(drawings: int) -> None:
    """However many drawings a sign has: its three photos come as often as they, and it as often as before."""
    samples = Samples(
        [np.zeros((2, 2), np.uint8)] * (drawings + 6),
        ["A1"] * (3 + drawings) + ["B1"] * 3,
        ["000001_A1.png", "000002_A1.png", "000003_A1.png"]
        + [drawn_name("A1", index) for index in range(drawings)]
        + ["000004_B1.png", "000005_B1.png", drawn_name("B1", 0)],
    )
    targets = np.array([0] * (3 + drawings) + [1] * 3)
    counted = emphasis(samples)
    drawn = Counter(draw_order(targets, 4000, seed=0, emphasis=counted).tolist())
    photos, rest = (sum(drawn[i] for i in part) for part in (range(3), range(3, 3 + drawings)))

    assert {1} == set(counted.repeats[3:].tolist())
    assert np.allclose([23, 3], np.bincount(targets, counted.worth))
    assert 0.9 < photos / rest < 1.2
    assert 0.68 < (photos + rest) / 4000 < 0.78  # the roots of 23 and of 3


def test_many_photos_weigh_more_than_drawings() -> None:
    """Sixty photos come three times as often as the drawings of their sign, be these twenty or eighty."""
    for drawings in (20, 80):
        names = [f"{n:06}_A1.png" for n in range(60)] + [drawn_name("A1", n) for n in range(drawings)]
        counted = emphasis(Samples([np.zeros((2, 2), np.uint8)] * len(names), ["A1"] * len(names), names))

        assert 3 == counted.repeats[:60].sum() / counted.repeats[60:].sum()
