"""The reader on photos of the Pyramid of Unas, built and measured by the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from long_matrices import takes

from fleetctl.manifest.schema import (
    Architecture,
    ArchitectureName,
    FolderDataset,
    Head,
    Model,
    Task,
    VariantName,
    Weights,
)
from fleetctl.models import photos
from fleetctl.models.progress import silent
from fleetctl.models.samples import Split

BOARDS = """\
boards:
  luxor-01: {board: raspberrypi4, model: glyphreader, host: 192.0.2.1}
rollout: {waves: [{percent: 100}]}
"""


def documented(glyphs: Path) -> str:
    """The manifest that docs/reader.md gives first, with the photos where they are here."""
    page = (Path(__file__).parents[2] / "docs" / "reader.md").read_text()
    models = page.split("```yaml\n", 1)[1].split("```", 1)[0].replace("../photos/", f"{glyphs}/")
    return f"apiVersion: fleetctl/v1\nkind: Fleet\nmetadata: {{name: unas}}\n{models}{BOARDS}"


@takes("minutes of training")
def test_most_real_signs_are_read(shared_data: Path, tmp_path: Path) -> None:
    """The documented int8 model reads at least 94.5 % of labelled photos; unseen signs count as errors."""
    glyphs = shared_data.resolve() / "glyphs"
    manifest = tmp_path / "inventory" / "fleet.yaml"
    manifest.parent.mkdir()
    manifest.write_text(documented(glyphs))
    fleetctl = [sys.executable, "-m", "fleetctl"]
    subprocess.run([*fleetctl, "build"], cwd=tmp_path, check=True)
    evaluate = [*fleetctl, "models", "evaluate", "glyphreader", "--variant", "int8"]
    said = subprocess.run(
        [*evaluate, "--data", str(glyphs / "evaluation"), "-o", "json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    measured = json.loads(said.stdout)

    assert measured["n"] == 814
    assert measured["top1"] >= 0.945


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:keras")  # TensorFlow's own
@takes("minutes")
def test_a_logistic_head_in_tflite_answers_as_scikit_learn_does(shared_data: Path, tmp_path: Path) -> None:
    """Deep features and a scikit-learn regression, as one TFLite graph: the same sign for every photo."""
    from fleetctl.models import evaluate, logistic_head, network, quantize, runtime
    from fleetctl.models.reader import emphasis, prepare_all, train

    glyphs = shared_data.resolve() / "glyphs"
    split = Split(photos.read(glyphs / "training"), photos.read(glyphs / "evaluation"))
    architecture = Architecture(
        ArchitectureName.EFFICIENTNET_LITE0,
        input=(96, 64, 1),
        blocks=11,
        weights=Weights.IMAGENET,
        head=Head.LOGISTIC_REGRESSION,
    )
    model = Model("reader", Task.CLASSIFICATION, FolderDataset(glyphs), architecture)
    trained = train(model, split, workdir=tmp_path, progress=silent)
    tflite = quantize.convert(model, trained, VariantName.FLOAT32, split.train)
    scores = evaluate.scores(
        tflite, trained.labels, trained.preprocess, *runtime.tensors(tflite), split.evaluation.images
    )

    features = network.features(architecture)
    seen = [
        logistic_head.seen(features, prepare_all(part, trained.preprocess))
        for part in (split.train, split.evaluation)
    ]
    targets = np.array([trained.labels.index(label) for label in split.train.labels], np.int32)
    head = logistic_head.fit(seen[0], targets, emphasis(split.train).repeats)

    assert head.predict(seen[1]).tolist() == scores.argmax(axis=1).tolist()
