"""What a plain installation, without the build tools, says to somebody who asks for models."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fleetctl.cli import main
from fleetctl.errors import ToolchainMissing
from fleetctl.models import photos
from fleetctl.models.detector import pictures

QUADRANTS = Path(__file__).parents[1] / "cases/device/quadrants.tflite"


@pytest.mark.parametrize("verb", ["check", "inspect"])
def test_reading_a_model_needs_the_build_tools(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One clear error that says what to install, not a failure to be reported."""
    monkeypatch.setitem(sys.modules, "tflite", None)

    assert 22 == main(["models", verb, str(QUADRANTS)])
    said = capsys.readouterr()
    assert "tflite is not installed" in said.err
    assert "pip install 'fleetctl[build]'" in said.err
    assert "" == said.out


def test_reading_photos_needs_the_build_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of Pillow, for glyphs and for walls."""
    photo = tmp_path / "1_G17.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(photo)
    monkeypatch.setitem(sys.modules, "PIL", None)

    for read in (photos.decode, pictures.read):
        with pytest.raises(ToolchainMissing, match="PIL is not installed"):
            read(photo)
