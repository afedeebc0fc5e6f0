"""The IoT Edge module: brings a release in its image, has the board prove it, and tells the hub.

    python3 edge_module.py --image DIR --root ROOT

The image carries the large files of a release, the module's desired properties the small ones. The board
protocol does the rest, in ROOT, which outlives the container: a board keeps what it runs until the new
release has proved itself there, and goes back by itself otherwise, whatever the image brought. A release is
kept once its proof is in the hub: a board that lost its connection over it goes back.

`DIR/image.json` is `{"schema", "digest", "files": {path: {"sha256", "size"}}}`; the files lie beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tarfile
import time
import types
import urllib.request
from typing import Any, Dict, List, Mapping, Tuple

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

from .durable import atomic_write
from .edge_client import METHOD_LIMIT, HubClient
from .edge_report import SCHEMA, SECTION, filled, last_receipts, pack
from .edge_twin import Reports
from .files import read_json
from .talk import complain, say

RELEASE_SCHEMA = "fleetctl.release/v1"
_VERB_PATIENCE_S = 600.0
_OBSERVE_EVERY_S = 60.0
_RETRY_S = 5.0
_MOST_RETRIES = 6  # of what is desired, then it waits for news: each may start the service anew
_PREDICT_PATIENCE_S = 30.0
# Direct methods, and the verbs of the board protocol behind them.
METHODS = {
    "smoke": "probe",
    "status": "observe",
    "confirm": "confirm",
    "revert": "revert",
    "logs": "logs",
    "history": "history",
}


class Carrier:
    """The files that an image brought."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        with open(os.path.join(folder, "image.json"), encoding="utf-8") as stream:
            record = json.load(stream)
        self.digest = str(record["digest"])
        self.files: Dict[str, Dict[str, Any]] = record["files"]

    def read(self, path: str) -> bytes:
        with open(os.path.join(self.folder, *path.split("/")), "rb") as stream:
            return stream.read()


class Board:
    """The board protocol, spoken to ROOT."""

    def __init__(self, carrier: Carrier, root: str) -> None:
        self._script = os.path.join(carrier.folder, "runtime", "activate.py")
        self._root = root
        self._note = os.path.join(root, "state", "edge.json")
        self.floor = self._noted()

    def hold(self, issued: int) -> None:
        """Follow nothing any more that was issued by then; what is noted survives the container."""
        self.floor = issued
        atomic_write(self._note, json.dumps({"floor": issued}).encode("utf-8"))

    def _noted(self) -> int:
        floor = read_json(self._note).get("floor")
        return floor if isinstance(floor, int) else 0

    def ask(self, verb: str, request: Mapping[str, Any], payload: bytes = b"") -> Dict[str, Any]:
        """The reply to a verb; one that cannot be had is a reply, too."""
        line = json.dumps(dict(request)).encode("utf-8") + b"\n"
        try:
            done = subprocess.run(
                [sys.executable, self._script, verb, "--root", self._root],
                input=line + payload,
                stdout=subprocess.PIPE,
                timeout=_VERB_PATIENCE_S,
            )
            reply = json.loads(done.stdout.decode("utf-8"))
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            return {"ok": False, "code": "internal", "error": "%s: %s" % (verb, error)}
        return reply if isinstance(reply, dict) else {"ok": False, "code": "internal", "error": verb}


class EdgeModule:
    """Follows the module's desired properties, one thing at a time."""

    def __init__(self, hub: HubClient, carrier: Carrier, board: Board, name: str) -> None:
        self._hub, self._carrier, self._board, self._name = hub, carrier, board, name
        # A simple one: SIGTERM puts into it on the very thread that may be within it.
        self._todo: "queue.SimpleQueue[Tuple[str, Any]]" = queue.SimpleQueue()
        self._reports = Reports(hub)
        self._is_connected = False
        self._issued = 0  # when the deployment that is followed was made, as its maker counts
        self._failures = 0  # to follow what is desired, one after the other
        self._due = 0.0  # when it does something unasked, on the monotonic clock

    def run(self) -> None:
        """Work until told to end."""
        self._board.ask("recover", {})
        self._issued = self._board.floor
        while True:
            what, about = self._next()
            if what == "end":
                break
            self._do(what, about)
            if what not in ("method", "message"):
                self._due = time.monotonic() + self._patience()
        self._hub.close()

    def _next(self) -> Tuple[str, Any]:
        """News, or what is due without any: pictures that come all the time do not put it off."""
        left = self._due - time.monotonic()
        if left > 0:
            with contextlib.suppress(queue.Empty):
                return self._todo.get(timeout=left)
        return self._unasked(), None

    def _patience(self) -> float:
        """Seconds until something is due; a wave that a busy hub turned away does not come back in step."""
        if not self._is_connected:
            return _RETRY_S
        if not self._is_behind:
            return _OBSERVE_EVERY_S
        longer = _RETRY_S * float(2 ** (self._failures - 1))
        return min(longer, _OBSERVE_EVERY_S) * random.uniform(0.5, 1.5)

    def _unasked(self) -> str:
        """What to do where there is no news."""
        if not self._is_connected:
            return "connect"
        return "again" if self._is_behind else "look"

    @property
    def _is_behind(self) -> bool:
        """Whether what is desired could not be followed, and is to be tried again."""
        return 0 < self._failures <= _MOST_RETRIES

    def _connect(self) -> None:
        """Begin to listen; while the hub is away the board serves what it has."""
        self._hub.connect(
            on_desired=lambda: self._todo.put(("desired", None)),
            on_method=lambda request: self._todo.put(("method", request)),
            on_message=lambda message: self._todo.put(("message", message)),
        )
        self._is_connected = True
        self._todo.put(("desired", None))

    def end(self) -> None:
        self._todo.put(("end", None))

    def _do(self, what: str, about: Any) -> None:
        try:
            if what == "connect":
                self._connect()
            elif what in ("desired", "again"):
                self._failures = self._failures + 1 if what == "again" else 1
                self._follow()
                self._failures = 0
            elif what == "method":
                self._answer(about)
            elif what == "message":
                self._predict(about)
            else:
                self._observe()
        except Exception as error:  # noqa: BLE001 - the hub is away, or its SDK has a bad day: the next one counts
            complain("%s: %s: %s" % (what, type(error).__name__, error))

    def _follow(self) -> None:
        """Bring the board to what the twin desires, unless that was answered before."""
        twin = self._hub.twin()
        desired, said = twin.get("desired") or {}, (twin.get("reported") or {}).get(SECTION) or {}
        self._reports.remember(said)
        version = desired.get("$version")
        if desired.get("schema") != SCHEMA:
            self._observe()
        elif said.get("answered") != version or said.get("consignment") != desired.get("consignment"):
            self._carry_out(desired, version)
        else:
            # Begun by the container before this one; a board that is sent back has to know what it leaves.
            issued = desired.get("issued")
            self._issued = max(self._issued, issued if isinstance(issued, int) else 0)
            self._observe()

    def _carry_out(self, desired: Mapping[str, Any], version: Any) -> None:
        say("release of consignment %.12s" % desired.get("consignment"))
        head = {
            "consignment": desired.get("consignment"),
            "answered": version,
            "image": self._carrier.digest,
            "floor": self._board.floor,
            "schema": SCHEMA,
        }
        issued = desired.get("issued")
        if not isinstance(issued, int) or issued <= self._board.floor:
            # Somebody sent us back by name since this was made; only what is made later moves us again.
            say("held: it was issued before this board was sent back")
            self._reports.insist(dict(head, state="held"), self._seen())
            return
        if desired.get("image") != self._carrier.digest:
            # The agent has yet to start the image that this needs; whoever it starts will follow.
            say("waiting for image %.12s" % desired.get("image"))
            return
        self._issued = max(self._issued, issued)
        digest, manifest, texts = self._release(desired)
        reply = self._activate(desired, digest, manifest, texts)
        if reply.get("state") == "pending":
            reply = self._settle(digest, reply, head)
        self._reports.answer(dict(head, release=digest), reply, self._seen())

    def _release(self, desired: Mapping[str, Any]) -> Tuple[str, str, Dict[str, bytes]]:
        """Digest and manifest of the release on this board, and its small files by digest."""
        files = dict(self._carrier.files)
        texts: Dict[str, bytes] = {}
        for entry in (desired.get("texts") or {}).values():
            data = filled(entry["text"], self._name).encode("utf-8")
            digest = hashlib.sha256(data).hexdigest()
            texts[digest] = data
            files[entry["path"]] = {"sha256": digest, "size": len(data)}
        record = {"schema": RELEASE_SCHEMA, "files": files}
        manifest = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
        return hashlib.sha256(manifest.encode("utf-8")).hexdigest(), manifest, texts

    def _activate(
        self, desired: Mapping[str, Any], digest: str, manifest: str, texts: Mapping[str, bytes]
    ) -> Dict[str, Any]:
        paths = {ref["sha256"]: path for path, ref in self._carrier.files.items()}
        said = self._board.ask("missing", {"blobs": sorted(list(paths) + list(texts))})
        if not said.get("ok"):
            return said
        absent = [blob for blob in said.get("missing") or [] if blob in paths or blob in texts]
        bundle = _tar([(blob, texts.get(blob) or self._carrier.read(paths[blob])) for blob in absent])
        request = {
            "board": self._name,
            "release": digest,
            "manifest": manifest,
            "bundle_bytes": len(bundle),
            "commit": desired.get("commit"),
            "confirm_timeout": desired.get("confirm_timeout"),
            "deadline": desired.get("deadline"),
        }
        return self._board.ask("activate", request, bundle)

    def _settle(self, digest: str, reply: Dict[str, Any], head: Mapping[str, Any]) -> Dict[str, Any]:
        """Keep a release that is proved, once the hub knows; leave one that is not, or cannot be told of."""
        receipt = reply.get("receipt") or {}
        reason = "; ".join(receipt.get("reasons") or [])
        has_passed = receipt.get("outcome") == "passed"
        if has_passed and pack(reply) is None:
            has_passed, reason = False, "its proof does not fit into its twin"
        if has_passed:
            self._reports.answer(dict(head, release=digest, answered=None), reply, self._seen())
            said = self._board.ask("confirm", {"release": digest})
            if not said.get("ok"):  # the hub took too long, or the service fell: it goes back, or did
                said = self._end_trial(digest, str(said.get("error")))
                receipt = dict(receipt, reasons=(said.get("receipt") or {}).get("reasons") or [])
        else:
            said = self._end_trial(digest, reason)
        settled = (
            {key: said.get(key) for key in ("state", "current")}
            if said.get("ok")
            else {"state": "revert_failed"}
        )
        return dict(reply, receipt=dict(receipt, state=settled["state"]), **settled)

    def _end_trial(self, digest: str, reason: str) -> Dict[str, Any]:
        return self._board.ask("revert", {"to": None, "trial": digest, "reason": reason})

    def _observe(self) -> None:
        head = {"image": self._carrier.digest, "floor": self._board.floor, "schema": SCHEMA}
        self._reports.say(head, self._seen())

    def _seen(self) -> Dict[str, Any]:
        return self._board.ask("observe", {})

    def _answer(self, request: Any) -> None:
        """A direct method: the verb behind it, with its request as the payload."""
        payload = request.payload if isinstance(request.payload, dict) else {}
        verb = METHODS.get(request.name)
        if verb is None:
            known = ", ".join(sorted(METHODS))
            reply: Dict[str, Any] = {"ok": False, "code": "bad-request", "error": "methods are %s" % known}
            self._hub.answer(request, 404, reply)
            return
        reply = self._go_back(payload) if verb == "revert" else self._board.ask(verb, payload)
        if verb == "history":
            reply = last_receipts(reply, METHOD_LIMIT)
        self._hub.answer(request, 200, reply)
        if verb in ("confirm", "revert"):
            self._observe()

    def _go_back(self, request: Mapping[str, Any]) -> Dict[str, Any]:
        """Hold first: where the container ends in between, the next would follow what the board has left."""
        floor = self._board.floor
        self._board.hold(self._issued)
        reply = self._board.ask("revert", request)
        if not reply.get("ok"):
            self._board.hold(floor)
        return reply

    def _predict(self, message: Any) -> None:
        """A picture on the input `image`: what the service makes of it goes to the output `predictions`."""
        if message.input_name != "image":
            return
        self._hub.send(predicted(self._board.ask("observe", {}), message.data), "predictions")


def predicted(seen: Mapping[str, Any], picture: bytes) -> bytes:
    """The answer of the board's service to a picture, or why there is none, as JSON."""
    port = (seen.get("config") or {}).get("port")
    if not isinstance(port, int):
        return json.dumps({"error": "this board serves nothing yet"}).encode("utf-8")
    request = urllib.request.Request("http://127.0.0.1:%d/predict" % port, data=picture, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_PREDICT_PATIENCE_S) as answer:
            return bytes(answer.read())
    except urllib.request.HTTPError as error:
        return bytes(error.read())
    except OSError as error:
        return json.dumps({"error": str(error)}).encode("utf-8")


def _tar(files: List[Tuple[str, bytes]]) -> bytes:
    if not files:
        return b""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def main(argv: List[str]) -> int:
    if len(argv) != 4 or argv[0] != "--image" or argv[2] != "--root":
        sys.stderr.write("usage: edge_module.py --image DIR --root ROOT\n")
        return 2
    carrier = Carrier(argv[1])
    name = os.environ.get("IOTEDGE_DEVICEID", "")
    if not name:
        sys.stderr.write("IOTEDGE_DEVICEID is not set: this is no IoT Edge module\n")
        return 2
    module = EdgeModule(HubClient(), carrier, Board(carrier, argv[3]), name)
    signal.signal(signal.SIGTERM, lambda *_: module.end())
    module.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
