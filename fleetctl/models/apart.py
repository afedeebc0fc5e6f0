"""Photos and drawings learnt together, each normalised among its own kind.

Batch normalisation takes the mean and the spread of the batch it is in. Where half of a batch are drawings,
photos are measured by what drawings look like, and what a network keeps for boards, where all are photos, is
a mixture that no photo is from. So the statistics of each kind are its own, and those of photos are kept:
domain-specific batch normalisation (Chang et al., CVPR 2019), with one scale and offset for both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetctl.models.tensorflow import tensorflow

_ENOUGH = 8  # of a kind, in a batch, for a mean and a spread


def is_possible(is_drawing: NDArray[np.bool_], batch: int) -> bool:
    """Whether each batch has enough of both kinds; `is_drawing` is of samples as they are learnt."""
    drawings = np.add.reduceat(is_drawing.astype(int), np.arange(0, len(is_drawing), batch))
    return bool(_ENOUGH <= drawings.min() and drawings.max() <= batch - _ENOUGH)


def learner(network: Any) -> Any:
    """A Keras model with the layers of `network`, which learn as it does.

    Its `fit` takes batches of images, answers, and whether each image is a drawing, bool (N,).
    """
    tf = tensorflow()

    class Learner(tf.keras.Model):  # type: ignore[misc, name-defined]
        def train_step(self, data: tuple[Any, Any, Any]) -> dict[str, Any]:
            images, answers, is_drawing = data
            kinds = (is_drawing, ~is_drawing)
            right = [tf.boolean_mask(answers, kind) for kind in kinds]
            drawings, photos = (tf.boolean_mask(images, kind) for kind in kinds)
            with tf.GradientTape() as tape:
                logits = [self._leaving_no_trace(drawings), self(photos, training=True)]
                loss = self.compute_loss(images, tf.concat(right, 0), tf.concat(logits, 0))
            self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
            return {"loss": loss}

        def _leaving_no_trace(self, images: Any) -> Any:
            """Logits, by the batch's own statistics; the kept ones are as they were."""
            kept = [tf.identity(statistic) for statistic in self.non_trainable_variables]
            logits = self(images, training=True)
            for statistic, value in zip(self.non_trainable_variables, kept, strict=True):
                statistic.assign(value)
            return logits

    return Learner(network.inputs, network.outputs)
