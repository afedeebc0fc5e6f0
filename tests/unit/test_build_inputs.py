"""What a lock is held against, and what trained networks are kept under."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fleetctl.build.inputs import TENSORFLOW, inputs_of
from fleetctl.manifest.loader import load

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT = yaml.safe_load((REPOSITORY / "tests/cases/lockfile/kept_inputs.yaml").read_text())


def test_the_tensorflow_of_the_digest_is_the_one_that_is_installed() -> None:
    """Another TensorFlow makes other bytes, so what it trains is kept under another name."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = {
        re.split(r"[=;]+", pin)[1]
        for pin in extras["build"]
        if re.match(r"tensorflow(-cpu-aws|-macos)?=", pin)
    }

    assert {pin.rpartition(".")[0] for pin in pins} == {TENSORFLOW}


@pytest.mark.parametrize("case", KEPT, ids=[case["what"] for case in KEPT])
def test_a_lock_stays_current_when_fleetctl_is_newer(case: dict[str, Any], tmp_path: Path) -> None:
    """No builder, TensorFlow or new setting changes the digest that locks of a recipe have."""
    manifest = tmp_path / "fleet.yaml"
    manifest.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "fleetctl/v1",
                "kind": "Fleet",
                "metadata": {"name": "kept"},
                "models": {"m": case["model"]},
                "defaults": {"model": "m", "board": "raspberrypi4"},
                "boards": {"luxor-01": {"host": "192.0.2.1"}},
            }
        )
    )
    model = load(manifest).models["m"]

    assert case["input"] == inputs_of(model, base=tmp_path, cache=tmp_path / "cache")[1]
