"""Sent to a board by tests: does it have one whole working release, does that serve, is anything left over?

    python3 -c SOURCE ROOT PATIENCE       one line of JSON out

Asks until nothing is wrong with what serves, or PATIENCE seconds are over. Standard library only, and
nothing of the board's own code: what is tested must not be its own witness.
"""

import ast
import fcntl
import hashlib
import http.client
import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main(root: Path, patience: float) -> None:
    give_up = time.monotonic() + patience
    while True:
        try:
            wrong = list(wrong_with_what_serves(root))
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            wrong = [f"{type(error).__name__}: {error}"]
        if not wrong or time.monotonic() > give_up:
            break
        time.sleep(0.2)
    print(json.dumps({"wrong": wrong, "left over": list(left_over(root)), "current": current_of(root)}))


def wrong_with_what_serves(root: Path) -> Iterator[str]:
    digest = current_of(root)
    folder = root / "releases" / digest
    if (root / "state/good").read_text().strip() != digest:
        yield "what is linked was not confirmed"
    for path in unlike_their_digest(folder, digest):
        yield f"{path} is not what it should be"
    config = json.loads((folder / "config/serve.json").read_bytes())
    said = ask(config, "GET", "/healthz")
    if said["release"] != digest:
        yield "another release serves"
    contract = json.loads((folder / "model/contract.json").read_bytes())
    wanted = [golden["label"] for golden in contract["golden"]]
    pictures = pictures_in((folder / "model/golden.npy").read_bytes())
    answered = [ask(config, "POST", "/predict", picture)["top"][0]["label"] for picture in pictures]
    if answered != wanted:
        yield f"it answers {answered}, not {wanted}"


def unlike_their_digest(folder: Path, digest: str) -> Iterator[str]:
    """Every file of a release that is absent, altered or not of it."""
    if sha256(folder / "release.json") != digest:
        yield "release.json"
    manifest = json.loads((folder / "release.json").read_bytes())
    wanted = {path: ref["sha256"] for path, ref in manifest["files"].items()}
    present = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    yield from present ^ (wanted.keys() | {"release.json"})
    for path in present & wanted.keys():
        if sha256(folder / path) != wanted[path]:
            yield path


def left_over(root: Path) -> Iterator[str]:
    """What a killed verb may leave for the next one, and that one must not."""
    if (root / "state/pending.json").exists():
        yield "pending.json"
    for place in (root, root / "state", root / "releases", root / "blobs/sha256"):
        for path in place.iterdir():
            if path.name.startswith((".new.", ".trash.")) or path.name == "current.new":
                yield str(path)
    yield from map(str, (root / "blobs/begun").glob("*"))
    for name in ("lock", "watch.lock"):
        if is_held(root / "state" / name):
            yield name
    for blob in (root / "blobs/sha256").iterdir():
        if sha256(blob) != blob.name:
            yield f"altered blob {blob.name}"


def is_held(path: Path) -> bool:
    with path.open("r+") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def current_of(root: Path) -> str:
    return (root / "current").readlink().name


def ask(config: dict[str, Any], method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(config["host"], config["port"], timeout=20)
    try:
        connection.request(method, path, body)
        return dict(json.loads(connection.getresponse().read()))
    finally:
        connection.close()


def pictures_in(stacked: bytes) -> Iterator[bytes]:
    """The pictures of a version 1 .npy file, each as such a file."""
    (length,) = struct.unpack("<H", stacked[8:10])
    header = ast.literal_eval(stacked[10 : 10 + length].decode())
    head = repr({**header, "shape": header["shape"][1:]}).encode() + b"\n"
    pixels = stacked[10 + length :]
    size = len(pixels) // header["shape"][0]
    for at in range(0, len(pixels), size):
        yield stacked[:8] + struct.pack("<H", len(head)) + head + pixels[at : at + size]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
