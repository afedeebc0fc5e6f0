"""The service on a board, as a real process: what it answers, what it refuses, how it starts and ends."""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, lay_out, refusal, start, start_and_wait, stop
from tiny_board import LABELS, as_npy, free_port, picture, tiny_contract, tiny_release

from fleetctl.device import probe
from fleetctl.device.spool import Spool


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    release = tiny_release(port, threshold=0.5, spool=str(tmp_path_factory.mktemp("spool")))
    service = start_and_wait(lay_out(tmp_path_factory.mktemp("release"), release), release, port)
    yield service
    assert stop(service) == 0


def test_it_says_what_it_loaded(served: Served) -> None:
    """`/healthz` names the release, the model by the bytes that were loaded, and the process."""
    status, said = served.http("GET", "/healthz")
    assert status == 200
    assert said["status"] == "ok"
    assert said["release"] == served.release.digest
    assert said["model_sha256"] == served.release.release.files["model/model.tflite"].sha256
    assert said["accelerator"] == "cpu"
    assert said["pid"] == served.process.pid
    assert {"python", "tflite", "numpy", "machine"} == set(said["runtime"])


@pytest.mark.parametrize("quadrant", range(4))
def test_it_answers_pictures(served: Served, quadrant: int) -> None:
    """The brightest quadrant is named, with the release and the process that said so."""
    status, said = served.http("POST", "/predict", as_npy(picture(quadrant)))
    assert (status, said["label"], said["top"][0]["label"]) == (200, LABELS[quadrant], LABELS[quadrant])
    assert said["score"] == pytest.approx(200 / 255, abs=1e-3)
    assert (said["release"], said["pid"]) == (served.release.digest, served.process.pid)
    assert said["elapsed_ms"] > 0


def test_an_unsure_answer_is_unknown(served: Served) -> None:
    """Under the threshold the label is UNKNOWN; the model's own first choice is still told."""
    _, said = served.http("POST", "/predict", as_npy(picture(3, bright=90)))
    assert (said["label"], said["top"][0]["label"]) == ("UNKNOWN", LABELS[3])


def test_many_at_once(served: Served) -> None:
    """Twenty callers each get the answer to their own picture."""
    answers: dict[int, str] = {}

    def ask(number: int) -> None:
        answers[number] = served.http("POST", "/predict", as_npy(picture(number % 4)))[1]["label"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: LABELS[number % 4] for number in range(20)}


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/predict", b"GIF89a", 415, "not a PNG, PGM, PPM or .npy picture"),
        ("/predict", b"", 415, "not a PNG, PGM, PPM or .npy picture"),
        ("/predict", b"P5 16 16 255\nshort", 400, "the picture is cut short"),
        ("/predict", as_npy(picture(0))[:-1], 400, "cannot have 255 bytes"),
        ("/other", b"x", 404, "no such path"),
    ],
)
def test_malformed_pictures_are_refused(
    served: Served, path: str, body: bytes, status: int, said: str
) -> None:
    """An error is JSON with a reason, and the service goes on."""
    got, answer = served.http("POST", path, body)
    assert (got, said in answer["error"]) == (status, True)
    assert served.http("GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5e3\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhi", 400),
        (b"GET /predict HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /healthz HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % ((16 << 20) + 1), 413),
    ],
)
def test_malformed_requests_are_refused(served: Served, head: bytes, status: int) -> None:
    """No request makes the service read without end, or stop."""
    reply = served.raw(head)
    assert b"%d" % status in reply.split(b"\r\n")[0]
    assert served.http("GET", "/healthz")[0] == 200


def test_nobody_else_can_ask(served: Served) -> None:
    """Of all sockets that listen, the service has one, and that is on loopback."""
    if not Path("/proc/net/tcp").exists():
        pytest.skip("looks into the kernel's table of sockets, which this system does not show")
    links = [link for link in Path(f"/proc/{served.process.pid}/fd").iterdir() if link.is_symlink()]
    inodes = {
        str(link.readlink())[len("socket:[") : -1] for link in links if "socket:" in str(link.readlink())
    }
    listening = {
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[9] in inodes
    }

    assert listening == {f"0100007F:{served.port:04X}"}


def test_metrics_are_prometheus_text(served: Served) -> None:
    """Requests by status, a latency histogram, and what is loaded."""
    served.http("POST", "/predict", as_npy(picture(0)))
    served.http("POST", "/predict", b"junk")
    status, text = served.http("GET", "/metrics")
    assert status == 200
    for line in text.splitlines():
        assert re.fullmatch(
            r"# (HELP|TYPE) \S+ .+|[a-z_]+(\{([a-z_0-9]+=\"[^\"]*\",?)+\})? [0-9.e+-]+", line
        ), line
    assert f'release="{served.release.digest}"' in text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert int(values['fleetctl_predict_requests_total{code="415"}']) >= 1
    count = int(values["fleetctl_predict_seconds_count"])
    assert 1 <= count == int(values['fleetctl_predict_seconds_bucket{le="+Inf"}'])


def test_dropped_pictures_are_answered_once(served: Served) -> None:
    """A picture in the spool gets its answer beside it; a bad one gets its reason; neither is read again."""
    config = json.loads((served.folder / "config" / "serve.json").read_text())
    spool = Path(config["spool"])
    (spool / "stone.npy").write_bytes(as_npy(picture(2)))
    (spool / "junk.png").write_bytes(b"junk")
    (spool / "notes.txt").write_text("not a picture")
    answers = [spool / "stone.npy.json", spool / "junk.png.json"]
    give_up = time.monotonic() + 10
    while not all(path.exists() for path in answers):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert json.loads(answers[0].read_text())["label"] == LABELS[2]
    assert "not a PNG" in json.loads(answers[1].read_text())["error"]
    assert {path.name for path in spool.iterdir()} == {
        "stone.npy",
        "stone.npy.json",
        "junk.png",
        "junk.png.json",
        "notes.txt",
    }


def test_a_picture_that_cannot_be_answered_keeps_no_other_waiting(tmp_path: Path) -> None:
    """One whose answer has too long a name comes first every time: it is complained of and passed over."""
    (tmp_path / f"{'a' * 250}.png").write_bytes(b"")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(OSError, match="too long"):
        Spool(str(tmp_path), lambda _: {"label": "G17"}, 1000).answer_all(time.time() + 60)

    assert json.loads((tmp_path / "b.png.json").read_text()) == {"label": "G17"}


def test_a_picture_that_nobody_expected_is_answered_too(tmp_path: Path) -> None:
    """Whatever it does to the model, the next one is read: the spool has one thread."""
    (tmp_path / "b.png").write_bytes(b"")

    def answer(_: bytes) -> dict[str, Any]:
        raise MemoryError

    assert Spool(str(tmp_path), answer, 1000).answer_all(time.time() + 60) == 1
    assert json.loads((tmp_path / "b.png.json").read_text()) == {"error": "MemoryError"}


def test_the_probe_asks_the_serving_process(served: Served) -> None:
    """Evidence names the process that answered, and has one answer for each golden sample, in order."""
    evidence = probe.probe(str(served.folder))
    assert evidence["loaded"]["pid"] == served.process.pid
    assert [answer["label"] for answer in evidence["answers"]] == list(LABELS)
    assert evidence["latency_ms"]["p50"] <= evidence["latency_ms"]["p95"] <= evidence["latency_ms"]["max"]


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("model/model.tflite", b"another model", "serve: model/model.tflite was altered on this board"),
        ("config/serve.json", b"{}", "serve: config/serve.json was altered on this board"),
        ("release.json", b"{}", "serve: the release has no config/serve.json"),
        ("release.json", b"no json", "serve: release.json is not a JSON object"),
    ],
)
def test_altered_files_are_not_served(tmp_path: Path, path: str, data: bytes, said: str) -> None:
    """What a release does not hold is not loaded."""
    folder = lay_out(tmp_path, tiny_release(free_port()))
    (folder / path).write_bytes(data)
    assert refusal(folder) == said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": LABELS[:3]}, "serve: the contract has 3 labels, the model has 4 outputs"),
        ({"task": "poetry"}, "serve: this runtime serves classification and detection, not poetry"),
        (
            {"input": tiny_contract().output},
            "serve: the model's input is uint8 [1, 16, 16, 1] (scale 1, zero point 0), ",
        ),
        (
            {"output": tiny_contract().input},
            "serve: the model's output is uint8 [1, 4] (scale 0.00392157, zero point 0), ",
        ),
    ],
)
def test_a_contract_of_another_model_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    """Labels, shapes, types and scales must be the model's own."""
    release = tiny_release(free_port()).with_file("model/contract.json", tiny_contract(**change).to_json())
    assert refusal(lay_out(tmp_path, release)).startswith(said)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"threads": 0}, "serve: threads must be a positive number"),
        ({"threshold": "high"}, "serve: threshold must be a number"),
        ({"accelerator": "gpu"}, "serve: accelerator must be none, preferred or required"),
        ({"accelerator": "required"}, "serve: the Edge TPU is required: the model was not compiled for it"),
        ({"port": 99999}, "serve: cannot listen on 127.0.0.1:99999"),
        ({"host": "0.0.0.0"}, "serve: it listens on this board alone, never on 0.0.0.0"),
        ({"host": "::"}, "serve: it listens on this board alone, never on ::"),
        ({"host": ""}, "serve: it listens on this board alone, never on "),
        ({"host": "192.0.2.1"}, "serve: it listens on this board alone, never on 192.0.2.1"),
        ({"host": "board.example"}, "serve: it listens on this board alone, never on board.example"),
    ],
)
def test_a_wrong_config_is_refused(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    """The service says what is wrong and ends with status 1."""
    release = tiny_release(free_port()).with_json("config/serve.json", **config)
    assert refusal(lay_out(tmp_path, release)).startswith(said)


def test_preferred_falls_back_aloud(tmp_path: Path) -> None:
    """Without an Edge TPU model, `preferred` serves on the CPU, says so, and stops when told to."""
    port = free_port()
    release = tiny_release(port, accelerator="preferred")
    folder = lay_out(tmp_path, release)
    served = start_and_wait(folder, release, port)
    assert served.http("GET", "/healthz")[1]["accelerator"] == "cpu"
    assert stop(served) == 0
    assert list(folder.rglob("__pycache__")) == []


def test_one_service_per_port(served: Served) -> None:
    """A second service on the same port does not start."""
    assert refusal(served.folder).startswith(f"serve: cannot listen on 127.0.0.1:{served.port}")


def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    """SIGTERM lets the picture that is being read be answered, and does not wait for idle connections."""
    port = free_port()
    release = tiny_release(port)
    served = start_and_wait(lay_out(tmp_path, release), release, port)
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    body = as_npy(picture(1))
    with socket.create_connection(("127.0.0.1", port), timeout=5) as busy:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        busy.sendall(head + body[:50])
        time.sleep(0.2)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        busy.sendall(body[50:])
        assert LABELS[1].encode() in b"".join(iter(lambda: busy.recv(4096), b""))
    begun = time.monotonic()
    assert stop(served) == 0
    assert time.monotonic() - begun < 3
    idle.close()


# Python 3.7 starts threads under a lock that no thread can take twice; here it is told to end right then.
TOLD_WHILE_A_THREAD_STARTS = """
import os, runpy, signal, sys, threading
class Lock:
    def __init__(self):
        self.lock, self.main = threading.Lock(), threading.get_ident()
    def __enter__(self):
        self.lock.acquire()
        if threading.get_ident() == self.main:
            os.kill(os.getpid(), signal.SIGTERM)
    def __exit__(self, *_):
        self.lock.release()
threading._active_limbo_lock = Lock()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_ends_whatever_it_is_at(tmp_path: Path) -> None:
    """Told to end while it takes a connection in, it does not wait for itself until it is killed."""
    port = free_port()
    release = tiny_release(port)
    folder = lay_out(tmp_path, release)
    argv = [sys.executable, "-c", TOLD_WHILE_A_THREAD_STARTS, str(folder / "runtime" / "serve.py")]
    with subprocess.Popen([*argv, "--release", str(folder)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("serve: release"):
            assert process.poll() is None
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                assert process.wait(timeout=20) == 0
        finally:
            process.kill()


def test_it_serves_no_release_by_the_code_of_another(tmp_path: Path) -> None:
    """Its unit says `current`, which may change while a slow board imports: then it has to start anew."""
    release = tiny_release(free_port())
    imports, go_on = tmp_path / "imports", tmp_path / "go on"
    slow = f"""
import pathlib
pathlib.Path({str(imports)!r}).touch()
while not pathlib.Path({str(go_on)!r}).exists():
    pass
def give_memory_back(): pass
"""
    lay_out(tmp_path / "bad", release.with_file("runtime/allocator.py", slow.encode()))
    lay_out(tmp_path / "good", release)
    current = tmp_path / "current"
    current.symlink_to("bad")
    with start(current) as process:
        try:
            while not imports.exists():
                assert process.poll() is None
            current.unlink()
            current.symlink_to("good")
            go_on.touch()
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert (1, True) == (process.returncode, said.endswith("the code of another release, bad\n"))
