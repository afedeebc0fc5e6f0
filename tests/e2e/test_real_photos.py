"""The reader on photos of the Pyramid of Unas, built and measured by the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {{name: unas}}
models:
  glyphreader:
    task: classification
    dataset: {{kind: folder, path: {training}, evaluation: {evaluation}, rendered: 20}}
    architecture: {{name: efficientnet_lite0, weights: imagenet, blocks: 11, input: [128, 88, 1]}}
    training: {{epochs: 16, batch_size: 64, learning_rate: 0.002}}
    variants: [float32, int8]
    gates: {{min_accuracy: 0.94, max_drop: 0.003}}
boards:
  luxor-01: {{board: raspberrypi4, model: glyphreader, host: 192.0.2.1}}
rollout: {{waves: [{{percent: 100}}]}}
"""


@pytest.mark.skipif("FLEETCTL_TEST_FULL" not in os.environ, reason="trains for minutes: make test-full")
def test_most_real_signs_are_read(shared_data: Path, tmp_path: Path) -> None:
    """The int8 model reads at least 94 % of the labelled photos; unseen signs count as errors."""
    glyphs = shared_data.resolve() / "glyphs"
    manifest = tmp_path / "inventory" / "fleet.yaml"
    manifest.parent.mkdir()
    manifest.write_text(MANIFEST.format(training=glyphs / "training", evaluation=glyphs / "evaluation"))
    fleetctl = [sys.executable, "-m", "fleetctl"]
    subprocess.run([*fleetctl, "build"], cwd=tmp_path, check=True)
    evaluate = [*fleetctl, "models", "evaluate", "glyphreader", "--data", str(glyphs / "evaluation")]
    said = subprocess.run([*evaluate, "-o", "json"], cwd=tmp_path, check=True, capture_output=True, text=True)
    measured = json.loads(said.stdout)

    assert measured["n"] == 814
    assert measured["top1"] >= 0.94
