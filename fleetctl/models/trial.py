"""Lets the board's own code answer golden samples, in a process of its own.

A file that is no longer a model may take its process down (TFLite trusts what it is given): then that is what
is reported, and the build lives on.

    python -m fleetctl.models.trial FOLDER...    prints one line of JSON for each, an artifact's files
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE
from fleetctl.children import environment
from fleetctl.errors import BuildError
from fleetctl.models.progress import Progress, silent

_SECONDS = 300.0  # for one artifact: a large model and a few dozen samples on a busy machine


class Said(Struct, frozen=True):
    """What came of one artifact: an answer for each golden sample as in a receipt, or why there is none."""

    answers: list[dict[str, Any]] = field(default_factory=list)
    refusal: str = ""


def run(artifacts: Sequence[Mapping[str, bytes]], *, progress: Progress = silent) -> list[Said]:
    """Answer the golden samples of each artifact (file name -> bytes), in order.

    `progress` hears stage `try bad releases`.

    Raises:
        BuildError: nothing can be run at all.
    """
    said: list[Said] = []
    with tempfile.TemporaryDirectory(prefix="fleetctl-trial-") as name:
        folders = [_unpacked(files, Path(name) / str(number)) for number, files in enumerate(artifacts)]
        while len(said) < len(folders):
            for one in _child(folders[len(said) :]):
                said.append(one)
                progress("try bad releases", len(said), len(folders))
    return said


def _unpacked(files: Mapping[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def _child(folders: Sequence[Path]) -> Iterator[Said]:
    """What one process says, up to the artifact that ends it."""
    command = [sys.executable, "-m", "fleetctl.models.trial", *map(str, folders)]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS * len(folders),
            env=environment(),
        )
    except subprocess.TimeoutExpired as expired:
        raise BuildError(f"the models gave no answer within {expired.timeout:.0f} seconds") from None
    lines = ended.stdout.splitlines()
    yield from (Said(**json.loads(line)) for line in lines)
    if len(lines) < len(folders):
        if ended.returncode >= 0:
            last = (ended.stderr.strip().splitlines() or ["it ended early"])[-1]
            raise BuildError(f"the built model cannot be tried: {last}")
        yield Said(refusal=f"its process is killed by {signal.Signals(-ended.returncode).name}")


def _answer(folder: Path) -> Said:
    """What `serve.py` would answer, asked sample by sample."""
    import numpy as np

    from fleetctl.device import reader, runtime
    from fleetctl.device.folder import ReleaseRefused

    contract = json.loads((folder / CONTRACT_FILE).read_bytes())
    try:
        engine = runtime.load((folder / MODEL_FILE).read_bytes(), "none", 1)
        served = reader.Reader(contract, engine, 0.0)
    except (ReleaseRefused, runtime.RuntimeRefused) as error:
        return Said(refusal=str(error))
    answers = []
    for sample in np.load(folder / GOLDEN_FILE, allow_pickle=False):
        try:
            told = served.read(sample)
        except (ArithmeticError, ValueError, RuntimeError) as error:
            answers.append({"error": str(error)})
        else:
            answers.append({**told["top"][0], "elapsed_ms": told["elapsed_ms"]})
    return Said(answers)


def main(folders: Sequence[str]) -> None:
    """Print what each artifact says; native libraries talk to standard error, if at all."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for folder in folders:
        said = _answer(Path(folder))
        print(json.dumps({"answers": said.answers, "refusal": said.refusal}), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
