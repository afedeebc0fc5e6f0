"""One preprocessing everywhere: what it promises, on any image."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fleetctl.device import preprocess
from fleetctl.device.preprocess import from_output, prepare, resize, to_input

SPEC = {
    "shape": [75, 50, 1],
    "fit": "contain",
    "lighting": {"window": 0, "low": 10, "high": 990, "min_range": 24},
    "smooth": 1,
}

KNOWN_DIGEST = "2909daf0152dfe2e86289ac6a63754432a2e712ad0dc3a9885eea569aa39c166"

sizes = st.tuples(st.integers(1, 90), st.integers(1, 90))
images = st.one_of(
    sizes.flatmap(lambda size: hnp.arrays(np.uint8, size)),
    sizes.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3))),
)


def textured(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture with some structure: smooth waves and a dark bar, levels 60..200."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    waves = 130 + 40 * np.sin(rows / 7 + rng.uniform(0, 6)) + 20 * np.cos(columns / 5)
    waves[:, width // 2 : width // 2 + 4] -= 60
    return np.asarray(np.clip(waves, 60, 200), np.uint8)


@given(images, st.sampled_from(["contain", "cover"]), st.integers(0, 12), st.sampled_from([1, 3]))
def test_any_image_takes_the_shape_of_the_specification(
    image: NDArray[np.uint8], fit: str, window: int, channels: int
) -> None:
    """Whatever the size and the number of channels, the result has the shape and type that were asked for."""
    lighting = {**SPEC["lighting"], "window": window}  # type: ignore[dict-item]
    spec = {**SPEC, "shape": [24, 16, channels], "fit": fit, "lighting": lighting}

    prepared = prepare(image, spec)

    assert (prepared.shape, prepared.dtype.name) == ((24, 16, channels), "uint8")


@given(st.integers(0, 255), sizes)
def test_a_blank_image_stays_blank(level: int, size: tuple[int, int]) -> None:
    """Stretching the light does not divide by a contrast of zero, nor invent a pattern."""
    assert len(np.unique(prepare(np.full(size, level, np.uint8), SPEC))) == 1


def test_faint_noise_is_not_stretched_to_full_contrast() -> None:
    """Two grey levels of noise on bare stone stay far from black and white."""
    noisy = 150 + np.random.default_rng(0).integers(0, 3, (75, 50))

    prepared = prepare(noisy.astype(np.uint8), SPEC)

    assert prepared.max() - prepared.min() < 60


@given(st.integers(0, 1000), st.floats(0.5, 1.2), st.integers(-20, 20))
def test_brightness_and_contrast_hardly_matter(seed: int, gain: float, offset: int) -> None:
    """A darker, brighter or flatter photo of the same stone prepares to nearly the same pixels."""
    image = textured(75, 50, seed)
    relit = np.clip(np.rint(image * gain + offset), 0, 255).astype(np.uint8)

    difference = np.abs(prepare(image, SPEC).astype(int) - prepare(relit, SPEC).astype(int))

    assert difference.mean() < 6


def test_a_local_window_takes_away_a_slope_of_light() -> None:
    """With a window set, light that falls off across the stone leaves little trace."""
    spec = {**SPEC, "lighting": {**SPEC["lighting"], "window": 12}}  # type: ignore[dict-item]
    image = textured(75, 50)
    slope = np.linspace(-40, 40, 75)[:, None]
    sloped = np.clip(image + slope, 0, 255).astype(np.uint8)

    def gap(chosen: dict[str, object]) -> float:
        return float(np.abs(prepare(image, chosen).astype(int) - prepare(sloped, chosen).astype(int)).mean())

    assert gap(spec) < gap(SPEC) / 2


def test_aspect_is_kept_and_the_edge_carried_outwards() -> None:
    """A wide photo in a tall frame is not squeezed: its rows at the edge are repeated above and below."""
    image = np.full((10, 40), 200, np.uint8)
    image[:, :20] = 40

    prepared = prepare(image, {"shape": [40, 40, 1], "fit": "contain"})[:, :, 0]

    assert (prepared == prepared[20]).all()
    assert (prepared[0, 0], prepared[0, -1]) == (40, 200)


def test_cover_crops_the_middle() -> None:
    """Filling the frame cuts what hangs over, equally on both sides."""
    image = np.zeros((20, 60), np.uint8)
    image[:, 20:40] = 255

    assert (prepare(image, {"shape": [20, 20, 1], "fit": "cover"}) == 255).all()


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 255))
def test_weights_of_the_resampling_add_up(source: int, target: int, level: int) -> None:
    """Resampling a constant gives the constant, in any size: the weights of each pixel sum to one."""
    assert (resize(np.full((source, 3), level, np.uint8), target, 5) == level).all()


def test_shrinking_averages_what_it_covers() -> None:
    """A checkerboard becomes grey, not black or white: no pixel is skipped."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255

    small = resize(board.astype(np.uint8), 8, 8)

    assert np.abs(small.astype(int) - 128).max() <= 16


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5), np.uint8),
        np.zeros((5, 5), np.float32),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros(5, np.uint8),
    ],
    ids=["empty", "float", "four channels", "one dimension"],
)
def test_what_is_no_photo_is_refused(image: NDArray[np.uint8]) -> None:
    """Anything but a non-empty uint8 grey or colour image raises ValueError."""
    with pytest.raises(ValueError, match="image must"):
        prepare(image, SPEC)


def test_an_unknown_fit_is_refused() -> None:
    """A contract that says something we do not know is not guessed at."""
    with pytest.raises(ValueError, match="fit must be contain or cover"):
        prepare(np.zeros((5, 5), np.uint8), {**SPEC, "fit": "stretch"})


def test_an_identity_quantization_passes_the_pixels_through() -> None:
    """A uint8 input of scale 1 and zero point 0 receives the prepared bytes themselves."""
    prepared = prepare(textured(75, 50), SPEC)

    tensor = to_input(prepared, {"shape": [1, 75, 50, 1], "dtype": "uint8", "scale": 1.0, "zero_point": 0})

    assert (tensor.dtype.name, tensor.shape) == ("uint8", (1, 75, 50, 1))
    assert (tensor[0] == prepared).all()


def test_a_float_input_receives_the_pixel_values() -> None:
    """Scale 0 says that the tensor is not quantized: its real values are 0..255."""
    prepared = prepare(textured(75, 50), SPEC)

    tensor = to_input(prepared, {"shape": [1, 75, 50, 1], "dtype": "float32", "scale": 0.0, "zero_point": 0})

    assert tensor.dtype == np.float32
    assert (tensor[0] == prepared).all()


@given(hnp.arrays(np.uint8, 7), st.floats(0.001, 0.1), st.integers(0, 255))
def test_output_scores_are_dequantized(raw: NDArray[np.uint8], scale: float, zero_point: int) -> None:
    """`real = scale (stored - zero point)`, as float32."""
    described = {"shape": [1, 7], "dtype": "uint8", "scale": scale, "zero_point": zero_point}

    scores = from_output(raw.reshape(1, 7), described)

    np.testing.assert_allclose(scores, scale * (raw.astype(float) - zero_point), rtol=1e-5)
    assert (scores.dtype.name, scores.shape) == ("float32", (7,))


@given(hnp.arrays(np.uint8, (4, 4, 1)), st.floats(0.5, 2.0), st.integers(-128, 127))
def test_int8_inputs_saturate(prepared: NDArray[np.uint8], scale: float, zero_point: int) -> None:
    """Values beyond the range of the type are clipped, never wrapped around."""
    described = {"shape": [1, 4, 4, 1], "dtype": "int8", "scale": scale, "zero_point": zero_point}

    real = scale * (to_input(prepared, described).astype(float) - zero_point)

    inside = (prepared / scale + zero_point <= 127) & (prepared / scale + zero_point >= -128)
    assert (np.abs(real[0] - prepared)[inside] <= scale / 2 + 1e-9).all()
    assert (real[0] <= prepared + scale).all()


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20))), st.integers(1, 2))
def test_smoothing_weighs_neighbours_and_repeats_the_edge(image: NDArray[np.uint8], passes: int) -> None:
    """Each pass is the rounded mean of a pixel and its eight neighbours, weighted 1 2 1 both ways."""
    height, width = image.shape
    expected = image.astype(int)
    for _ in range(passes):
        wide = np.pad(expected, 1, mode="edge")
        weighted = [
            (2 - abs(down)) * (2 - abs(right)) * wide[1 + down :, 1 + right :][:height, :width]
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
        ]
        expected = (np.sum(weighted, axis=0) + 8) // 16

    prepared = prepare(image, {"shape": [height, width, 1], "smooth": passes})

    assert (prepared[:, :, 0] == expected).all()


@given(hnp.arrays(np.uint8, (4, 3, 1)), st.floats(0.1, 4.0), st.integers(-128, 127))
def test_each_pixel_is_stored_as_the_contract_says(
    prepared: NDArray[np.uint8], scale: float, zero_point: int
) -> None:
    """The tensor holds rint(pixel / scale) + zero point, held within the type's limits."""
    entry = {"dtype": "int8", "shape": [1, 4, 3, 1], "scale": scale, "zero_point": zero_point}

    tensor = to_input(prepared, entry)

    wanted = [min(max(round(value / scale) + zero_point, -128), 127) for value in prepared.ravel().tolist()]
    assert tensor.dtype == np.int8
    assert tensor.ravel().tolist() == wanted


def test_known_bytes() -> None:
    """The exact bytes are part of the contract with boards: this digest may only change with the models."""
    rows, columns = np.mgrid[:301, :203]
    image = ((rows * rows + 7 * columns + rows * columns // 50) % 251).astype(np.uint8)

    prepared = prepare(image, {**SPEC, "shape": [96, 64, 3]})

    assert hashlib.sha256(prepared.tobytes()).hexdigest() == KNOWN_DIGEST


def test_it_stands_alone(tmp_path: Path) -> None:
    """Copied to a folder of its own, as on a board, it runs with numpy only and gives the same bytes."""
    script = tmp_path / "preprocess.py"
    script.write_bytes(Path(preprocess.__file__).read_bytes())
    np.save(tmp_path / "image.npy", textured(80, 60))
    program = (
        "import json, sys, numpy, preprocess\n"
        "assert not [name for name in sys.modules if name.startswith('fleetctl')]\n"
        "prepared = preprocess.prepare(numpy.load('image.npy'), json.loads(sys.argv[1]))\n"
        "sys.stdout.buffer.write(prepared.tobytes())\n"
    )

    there = subprocess.run(
        [sys.executable, "-c", program, json.dumps(SPEC)], cwd=tmp_path, capture_output=True, check=True
    )

    assert there.stdout == prepare(textured(80, 60), SPEC).tobytes()


def test_real_photos_fill_the_range(shared_data: Path) -> None:
    """Photos of dark and of bright stone alike end up with bright ground and dark signs."""
    from fleetctl.models import photos

    found = photos.find(shared_data / "glyphs" / "evaluation")[::25]
    prepared = np.stack([prepare(photos.decode(photo.path), SPEC) for photo in found])

    assert np.median(prepared, axis=(1, 2, 3)).min() > 110
    assert np.percentile(prepared, 1, axis=(1, 2, 3)).max() < 100
