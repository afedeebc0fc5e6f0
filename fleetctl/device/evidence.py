"""Proves a release: asks the serving process, holds its answers against the release's own budget."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Callable, Dict, Optional, Sequence

from . import judge as judging
from . import probe as probing
from .board_error import BoardError
from .clock import utc
from .files import Json, to_json
from .layout import Board
from .own_code import is_own_code
from .release_files import release_files
from .vitals import has_edge_tpu, health

JUDGE_PATIENCE_S = 60.0
# What asks the service and what judges it, with all that they import of ours.
CODE = ("checks", "golden_answers", "judge", "npy", "probe", "scenes", "service_line")


def prove(board: Board, digest: str, previous: Optional[str], order: Json, limit: float) -> Dict[str, Any]:
    """Ask the serving process the golden samples and judge what it says: a whole receipt."""
    receipt = receipt_of(board, digest, previous, order, answers_of(board, digest, limit))
    receipt.update(judge(board, digest, receipt))
    return receipt


def answers_of(board: Board, digest: str, limit: float) -> Dict[str, Any]:
    """What the service says to the golden samples, asked by the release's own probe."""
    folder = board.release(digest)
    limit = max(limit, time.monotonic() + 1.0)
    if is_own_code(CODE, release_files(board, digest)):
        return run_here("probe.py", lambda: probing.probe(folder, limit))
    return run_script(board, digest, ["probe.py", "--release", folder], {}, limit - time.monotonic())


def receipt_of(
    board: Board, digest: str, previous: Optional[str], order: Json, evidence: Json
) -> Dict[str, Any]:
    """A receipt that nobody has judged yet, so a failed one; `evidence` is what `probe.py` said, or empty."""
    wanted = board.config(digest, "config/smoke.json").get("accelerator")
    used = evidence.get("accelerator")
    return {
        "schema": "fleetctl.receipt/v1",
        "board": order.get("board") or board.config(digest, "config/serve.json").get("board"),
        "release": digest,
        "previous": previous,
        "commit": order.get("commit"),
        "signed": order.get("signed"),
        "time": utc(),
        "loaded": evidence.get("loaded"),
        "accelerator": {"wanted": wanted, "used": used, "present": used == "edgetpu" or has_edge_tpu()},
        "runtime": evidence.get("runtime"),
        "answers": evidence.get("answers", []),
        "latency_ms": evidence.get("latency_ms"),
        "health": health(board.root),
        "state": "pending",
        "outcome": "failed",
        "reasons": [],
    }


def judge(board: Board, digest: str, receipt: Json, smoke: Optional[Json] = None) -> Dict[str, Any]:
    """`outcome` and `reasons`, by the release's own judge; a judge that fails is a failure."""
    files = release_files(board, digest)
    model = files.get("model/model.tflite")
    asked = {
        "contract": board.config(digest, "model/contract.json"),
        "smoke": board.config(digest, "config/smoke.json") if smoke is None else smoke,
        "receipt": receipt,
        "ordered": {
            "board": receipt["board"],
            "release": digest,
            "model_sha256": model.sha256 if model else "",
        },
    }
    try:
        if is_own_code(CODE, files):
            judged = run_here("judge.py", lambda: judging.judge(**asked))
        else:
            judged = run_script(board, digest, ["judge.py"], asked, JUDGE_PATIENCE_S)
    except BoardError as error:
        return {"outcome": "failed", "reasons": [str(error)]}
    outcome, reasons = judged.get("outcome"), judged.get("reasons")
    if outcome not in ("passed", "failed", "inconclusive") or not isinstance(reasons, list):
        return {"outcome": "failed", "reasons": ["judge.py gave no judgement"]}
    return {"outcome": outcome, "reasons": [str(reason) for reason in reasons]}


def run_here(name: str, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
    """What a script of the release would say, by the same code in this process: no interpreter to start."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - as if it had died
        said = "%s failed: %s: %s" % (name, type(error).__name__, error)
        raise BoardError("probe-failed", said[:320]) from None


def run_script(
    board: Board, digest: str, words: Sequence[str], request: Json, patience: float
) -> Dict[str, Any]:
    """Run a script of the release with the release's Python: JSON in, JSON out."""
    python = str(board.config(digest, "config/service.json").get("python") or sys.executable)
    script = os.path.join(board.release(digest), "runtime", words[0])
    argv = [python, "-I", "-S", "-B", script, *words[1:]]  # standard library only, and it starts sooner
    import subprocess  # slow to import: only for a release with other code

    try:
        done = subprocess.run(
            argv, input=to_json(request), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=patience
        )
        reply = json.loads(done.stdout.decode("utf-8")) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise BoardError("probe-failed", "%s did not finish in %.0f s" % (words[0], patience)) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BoardError("probe-failed", "%s: %s" % (words[0], error)) from None
    if not isinstance(reply, dict):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no answer"]
        raise BoardError("probe-failed", "%s failed: %.300s" % (words[0], said[0]))
    return reply


def evidence_terms(board: Board, digest: str) -> Dict[str, Any]:
    """What a receipt is judged by, as this board has it."""
    return {
        "contract": board.config(digest, "model/contract.json"),
        "smoke": board.config(digest, "config/smoke.json"),
    }
