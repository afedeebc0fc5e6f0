"""The pixels of labelled photos: which those of a folder are, `photo_files` says."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def read(folder: Path, *, progress: Progress = silent) -> Samples:
    """Decode every labelled photo of a folder; those labelled UNKNOWN are left out.

    `progress` hears stage `read photos`.

    Raises:
        BuildError: as `find`, or a photo that is no readable PNG.
    """
    photos = [photo for photo in find(folder) if photo.label != UNKNOWN]
    images = []
    for done, photo in enumerate(photos, start=1):
        images.append(decode(photo.path))
        progress("read photos", done, len(photos))
    return Samples(images, [photo.label for photo in photos], [photo.name for photo in photos])


def decode(path: Path) -> Grey:
    """A PNG as grey uint8 (H, W); transparent pixels lie on white, 16-bit greys keep their upper half.

    Raises:
        BuildError: unreadable, cut short, not a PNG whatever its name says, animated, or far too large.
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
                    return _grey(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million"
        raise BuildError(f"{path} has more than {most} pixels", hint=REPLACE) from None
    except BROKEN as exc:
        raise BuildError(f"{path} is not a readable PNG: {_reason(path, exc)}", hint=REPLACE) from None
    raise BuildError(f"{path} is animated: it has {frames} frames", hint="keep the one that shows the sign")


def _reason(path: Path, error: Exception) -> str:
    """Why a file could not be decoded, in fewer words than Pillow's, which repeat the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    with path.open("rb") as stream:
        start = stream.read(len(_SIGNATURE))
    if not start:
        return "it is empty"
    if start != _SIGNATURE:
        return "it is a file of another kind"
    if "cannot identify" in str(error):
        return "its header is damaged"
    return str(error) or "its parts contradict each other"


def _grey(image: "Image.Image") -> Grey:
    from PIL import Image

    if image.mode.startswith("I"):
        return np.asarray(np.asarray(image).astype(np.uint32) >> 8, np.uint8)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), coloured)
    return np.array(image.convert("L"))
