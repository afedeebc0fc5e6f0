"""The pixels of labelled photos: which those of a folder are, `photo_files` says."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fleetctl.device import images
from fleetctl.device.preprocess import to_grey
from fleetctl.errors import BuildError
from fleetctl.models import build_tools
from fleetctl.models.gardiner import UNKNOWN
from fleetctl.models.photo_files import REPLACE
from fleetctl.models.photo_files import find as find
from fleetctl.models.progress import Progress, silent
from fleetctl.models.samples import Grey, Samples

if TYPE_CHECKING:
    from PIL import Image

# What Pillow raises on damaged files: its own errors, and whatever the damage made it stumble over.
BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, AssertionError, struct.error, zlib.error),
)
_FOR_BOARDS = "convert it to a PNG with 8 bits a channel that is not interlaced"
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read(folder: Path, *, progress: Progress = silent) -> Samples:
    """Decode every labelled photo of a folder; those labelled UNKNOWN are left out.

    `progress` hears stage `read photos`.

    Raises:
        BuildError: as `find`, or a photo that is no readable PNG.
    """
    photos = [photo for photo in find(folder) if photo.label != UNKNOWN]
    greys = []
    for done, photo in enumerate(photos, start=1):
        greys.append(decode(photo.path))
        progress("read photos", done, len(photos))
    return Samples(greys, [photo.label for photo in photos], [photo.name for photo in photos])


def decode(path: Path) -> Grey:
    """A PNG as grey uint8 (H, W), with the pixels that a board sees of it.

    Pillow decodes, ten times as fast as a board's decoder; what a board does besides, its own code does, and
    all of it where Pillow may see other colours, or see some that are not there.

    Raises:
        BuildError: unreadable, cut short, not a PNG whatever its name says, animated, far too large, or of a
            kind that boards do not read.
        ToolchainMissing: Pillow is not installed.
    """
    build_tools.demand("PIL")
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, which nobody asked about
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                frames = getattr(image, "n_frames", 1)
                if frames == 1:
                    return _as_on_boards(_grey(image), path.read_bytes())
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = f"{images.MAX_PIXELS / 1e6:.0f} million"
        raise BuildError(f"{path} has more than {most} pixels", hint=REPLACE) from None
    except images.ImageError as exc:
        hint = _FOR_BOARDS if isinstance(exc, images.UnsupportedImage) else REPLACE
        raise BuildError(f"{path} is no picture for a board: {exc}", hint=hint) from None
    except BROKEN as exc:
        raise BuildError(f"{path} is not a readable PNG: {_reason(path, exc)}", hint=REPLACE) from None
    raise BuildError(f"{path} is animated: it has {frames} frames", hint="keep the one that shows the sign")


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be decoded, in fewer words than Pillow's, which repeat the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    with path.open("rb") as stream:
        start = stream.read(len(SIGNATURE))
    if not start:
        return "it is empty"
    if start != SIGNATURE:
        return "it is a file of another kind"
    if "cannot identify" in str(error):
        return "its header is damaged"
    return str(error) or "its parts contradict each other"


def _as_on_boards(grey: Grey, data: bytes) -> Grey:
    """What a board sees of a PNG of which Pillow sees `grey`; raises `ImageError` where it sees nothing."""
    return grey if images.demand_png(data) else to_grey(images.decode(data))


def _grey(image: "Image.Image") -> Grey:
    plain = image.mode == "L" and "transparency" not in image.info
    return to_grey(np.array(image) if plain else on_white(image))


def on_white(image: "Image.Image") -> NDArray[np.uint8]:
    """The colours of a picture, (H, W, 3); what is transparent lies on white, as on a board.

    Raises:
        ValueError: it names colours by number, and says of none what it is.
    """
    if image.mode == "P" and image.palette is None:
        raise ValueError("it has no palette")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return np.ascontiguousarray(images.on_white(np.array(image.convert("RGBA"))))
    return np.array(image.convert("RGB"))
