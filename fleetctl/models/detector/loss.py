"""What a detector's mistakes cost: is there a sign, which one is it, and where exactly."""

from typing import Any

from fleetctl.models.detector.targets import BACKGROUND, UNKNOWN_SIGN
from fleetctl.models.tensorflow import tensorflow

_FOCUS = 2.0  # gamma of the focal loss (Lin et al. 2017)
_POSITIVE_WEIGHT = 0.35  # alpha: of the question whether there is a sign, the share of anchors that have one
_WHICH = 0.6  # weight of reading the sign, against finding it
_WHERE = 0.5
_LABEL_SMOOTHING = 0.05


def loss(logits: Any, offsets: Any, classes: Any, truth: Any) -> Any:
    """Mean cost per positive anchor of a batch, a scalar.

    An anchor's best label says how sure it is that there is a sign; which label is best, what sign. So a sign
    that could be one of two birds is still found, and boxes whose sign is unknown teach finding.

    Args:
        logits: float32 (B, N, labels).
        offsets: float32 (B, N, 4).
        classes: int32 (B, N) as `targets.Targets.classes`.
        truth: float32 (B, N, 4) as `targets.Targets.offsets`.
    """
    tf = tensorflow()
    named = classes >= 0
    positive = tf.cast(named | (classes == UNKNOWN_SIGN), tf.float32)
    negative = tf.cast(classes == BACKGROUND, tf.float32)
    count = tf.maximum(tf.reduce_sum(positive), 1.0)

    best = tf.reduce_max(logits, axis=2)
    found = _POSITIVE_WEIGHT * positive * _focal(best) + (1 - _POSITIVE_WEIGHT) * negative * _focal(-best)
    placed = positive * tf.reduce_sum(_huber(offsets - truth), axis=2)
    read = _reading(tf.boolean_mask(logits, named), tf.boolean_mask(classes, named))
    return (tf.reduce_sum(found + _WHERE * placed) + _WHICH * tf.reduce_sum(read)) / count


def _reading(logits: Any, classes: Any) -> Any:
    """Cross-entropy of softmax with smoothed labels: (M, labels), (M,) -> (M,)."""
    tf = tensorflow()
    labels = tf.shape(logits)[1]
    even = _LABEL_SMOOTHING / tf.cast(labels, tf.float32)
    wanted = tf.one_hot(classes, labels, on_value=1 - _LABEL_SMOOTHING + even, off_value=even)
    return tf.nn.softmax_cross_entropy_with_logits(wanted, logits)


def _focal(logits: Any) -> Any:
    """Of answers that should be yes: -(1 - p)^gamma log p."""
    tf = tensorflow()
    return tf.sigmoid(-logits) ** _FOCUS * tf.nn.softplus(-logits)


def _huber(difference: Any) -> Any:
    tf = tensorflow()
    size = tf.abs(difference)
    return tf.where(size < 1.0, 0.5 * size * size, size - 0.5)
