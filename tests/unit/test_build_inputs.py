"""The pins that digests are taken of say what is installed."""

import re
import tomllib
from pathlib import Path

from fleetctl.build.inputs import TENSORFLOW

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_tensorflow_of_the_digest_is_the_one_that_is_installed() -> None:
    """Another TensorFlow makes other bytes, so it has to make other digests."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = {
        re.split(r"[=;]+", pin)[1]
        for pin in extras["build"]
        if re.match(r"tensorflow(-cpu-aws|-macos)?=", pin)
    }

    assert {pin.rpartition(".")[0] for pin in pins} == {TENSORFLOW}
