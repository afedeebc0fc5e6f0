"""Native libraries are kept from writing to the terminal; everybody else is not."""

import os

import pytest

from fleetctl.models.hush import hushed


def test_what_native_code_writes_is_kept_away(capfd: pytest.CaptureFixture[str]) -> None:
    """Inside, the file descriptors lead nowhere; before and after, they are the terminal's."""
    for text in (b"before ", b"after "):
        os.write(1, text)
        os.write(2, text)
        with hushed():
            os.write(1, b"chatter")
            os.write(2, b"chatter")

    assert tuple(capfd.readouterr()) == ("before after ", "before after ")


def test_a_failure_passes_through(capfd: pytest.CaptureFixture[str]) -> None:
    """An exception inside is not swallowed, and the terminal is given back."""
    with pytest.raises(ValueError, match="broken"), hushed():
        raise ValueError("broken")

    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
