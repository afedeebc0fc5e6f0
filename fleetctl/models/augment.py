"""Random variations of prepared photos while a network learns: place, size, slant, light, noise, damage.

Never mirrored: which way a sign looks is part of how it is read.
"""

from typing import Any

from fleetctl.models.tensorflow import tensorflow

# Standard deviations, as fractions of the frame or of the grey range, unless said otherwise.
_TURN = 0.05  # radians
_SLANT = 0.06
_STRETCH = 0.08
_SHIFT = 0.04
_GAIN = 0.15
_NOISE = 0.04  # the largest
_PATCH = 0.35  # the largest side of a blanked rectangle


def augment(images: Any, seed: Any) -> Any:
    """Vary a batch: float32 (N, H, W, C) in 0..1 to the same shape and range. `seed` is an int32 pair."""
    tf = tensorflow()

    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    varied = _move(images, seeds[0])
    varied = _relight(varied, seeds[1])
    varied = _blank(varied, seeds[2])
    count = tf.shape(images)[0]
    strength = tf.random.stateless_uniform((count, 1, 1, 1), seeds[3], 0.0, _NOISE)
    varied += strength * tf.random.stateless_normal(tf.shape(images), seeds[3])
    return tf.clip_by_value(varied, 0.0, 1.0)


def _move(images: Any, seed: Any) -> Any:
    """An affine transform about the centre, the edge's values carried outwards."""
    tf = tensorflow()

    count, height, width = tf.unstack(tf.cast(tf.shape(images)[:3], tf.float32))
    draws = tf.random.stateless_normal((tf.cast(count, tf.int32), 6), seed)
    turn, slant = _TURN * draws[:, 0], _SLANT * draws[:, 1]
    size, stretch = _STRETCH * draws[:, 2], _STRETCH * draws[:, 3]
    a = tf.exp(size + stretch) * tf.cos(turn)
    b = tf.exp(size + stretch) * (slant - tf.sin(turn))
    c = tf.exp(size - stretch) * tf.sin(turn)
    d = tf.exp(size - stretch) * tf.cos(turn)
    x, y = width / 2, height / 2
    right = x - a * x - b * y + _SHIFT * width * draws[:, 4]
    down = y - c * x - d * y + _SHIFT * height * draws[:, 5]
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, right, c, d, down, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )


def _relight(images: Any, seed: Any) -> Any:
    """Gain about the middle grey, brightness, and gamma."""
    tf = tensorflow()

    draws = tf.random.stateless_normal((3, tf.shape(images)[0], 1, 1, 1), seed)
    lit = (images - 0.5) * tf.exp(_GAIN * draws[0]) + 0.5 + 0.5 * _GAIN * draws[1]
    return tf.pow(tf.clip_by_value(lit, 1e-3, 1.0), tf.exp(_GAIN * draws[2]))


def _blank(images: Any, seed: Any) -> Any:
    """Half of the images lose a rectangle to their own mean grey: a flaw in the stone."""
    tf = tensorflow()

    shape = tf.shape(images)
    draws = tf.random.stateless_uniform((5, shape[0], 1, 1, 1), seed)
    rows = tf.reshape(tf.linspace(0.0, 1.0, shape[1]), (1, -1, 1, 1))
    columns = tf.reshape(tf.linspace(0.0, 1.0, shape[2]), (1, 1, -1, 1))
    inside = (tf.abs(rows - draws[0]) < draws[1] * _PATCH / 2) & (
        tf.abs(columns - draws[2]) < draws[3] * _PATCH / 2
    )
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return tf.where(inside & (draws[4] < 0.5), mean, images)
