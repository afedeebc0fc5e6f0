"""Proves a release: asks the serving process, holds its answers against the release's own budget."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, Dict, Optional, Sequence

from .board_error import BoardError
from .clock import utc
from .files import Json, to_json
from .layout import Board
from .release_files import release_files
from .vitals import has_edge_tpu, health

JUDGE_PATIENCE_S = 60.0


def prove(board: Board, digest: str, previous: Optional[str], order: Json, limit: float) -> Dict[str, Any]:
    """Ask the serving process the golden samples and judge what it says: a whole receipt."""
    words = ["probe.py", "--release", board.release(digest)]
    evidence = run_script(board, digest, words, {}, max(1.0, limit - time.monotonic()))
    receipt = receipt_of(board, digest, previous, order, evidence)
    receipt.update(judge(board, digest, receipt))
    return receipt


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
        judged = run_script(board, digest, ["judge.py"], asked, JUDGE_PATIENCE_S)
    except BoardError as error:
        return {"outcome": "failed", "reasons": [str(error)]}
    outcome = judged.get("outcome")
    known = outcome in ("passed", "failed", "inconclusive")
    return {"outcome": outcome if known else "failed", "reasons": list(judged.get("reasons", []))}


def run_script(
    board: Board, digest: str, words: Sequence[str], request: Json, patience: float
) -> Dict[str, Any]:
    """Run a script of the release with the release's Python: JSON in, JSON out."""
    python = str(board.config(digest, "config/service.json").get("python") or sys.executable)
    script = os.path.join(board.release(digest), "runtime", words[0])
    argv = [python, "-I", "-S", "-B", script, *words[1:]]  # standard library only, and it starts sooner
    try:
        done = subprocess.run(
            argv, input=to_json(request), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=patience
        )
        reply = json.loads(done.stdout.decode("utf-8")) if done.returncode == 0 else None
    except subprocess.TimeoutExpired:
        raise BoardError("probe-failed", "%s did not finish in %.0f s" % (words[0], patience)) from None
    except (OSError, ValueError) as error:
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
