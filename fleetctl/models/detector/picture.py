"""Drawing what was found on a photo: a box around each sign, and its name where it can be read."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleetctl.models.detector.inference import Detection

_PALETTE = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#e07b00", "#008b8b", "#c2187a", "#7a5230")
_PAD = 2  # pixels around a name


def draw(image: NDArray[np.uint8], found: Sequence[Detection]) -> bytes:
    """A PNG of the photo, uint8 (H, W) or (H, W, 3), with boxes and names; one sign has one colour.

    The best detections are drawn last, over the others. A name stands at the upper left corner of its box,
    white on the box's colour, wholly inside the picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image).convert("RGB")
    pen = ImageDraw.Draw(picture)
    thick = max(1, round(min(picture.size) / 600))
    font = ImageFont.load_default(size=max(10, round(min(picture.size) / 90)))
    for one in reversed(found):
        colour = _colour(one.sign)
        pen.rectangle(one.box, outline=colour, width=thick)
        left, top, right, bottom = font.getbbox(one.sign)
        wide, high = right - left + 2 * _PAD, bottom - top + 2 * _PAD
        x = max(0, min(one.box[0], picture.width - wide))
        y = max(0, min(one.box[1], picture.height - high))
        pen.rectangle((x, y, x + wide, y + high), fill=colour)
        pen.text((x + _PAD - left, y + _PAD - top), one.sign, fill="white", font=font)
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _colour(sign: str) -> str:
    return _PALETTE[sum(sign.encode()) % len(_PALETTE)]
