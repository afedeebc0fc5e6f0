"""The service on a board with a detector, as a real process: every tile, every bound, every refusal."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Served, lay_out, refusal, start_and_wait, stop
from tiny_board import as_npy, free_port
from tiny_detector import (
    GOLDEN_MARKS,
    detection_terms,
    marked,
    marks_release,
    seen,
    spoilt,
    torn_release,
)

from fleetctl.device import probe


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    port = free_port()
    release = marks_release(port, spool=str(tmp_path_factory.mktemp("spool")))
    service = start_and_wait(lay_out(tmp_path_factory.mktemp("release"), release), release, port)
    yield service
    assert stop(service) == 0


def shown(detections: list[dict[str, Any]]) -> list[tuple[str, float, tuple[float, ...]]]:
    return sorted((one["label"], one["score"], tuple(one["box"])) for one in detections)


def test_it_finds_marks_on_a_large_picture(served: Served) -> None:
    """All tiles of a picture are read, each mark is told once, in pixels of the picture."""
    marks = (("disc", 0, 0), ("bar", 8, 16), ("disc", 24, 40), ("bar", 40, 0), ("disc", 40, 72))
    status, said = served.http("POST", "/predict", as_npy(marked(*marks, shape=(48, 80))))
    expected = [(one.label, one.score, one.box) for one in seen(*marks, height=48)]
    assert (status, sorted(expected)) == (200, shown(said["detections"]))
    assert said["tiles"] == 5 * 9
    assert said["below_threshold"] == []
    assert (said["release"], said["pid"]) == (served.release.digest, served.process.pid)
    assert 0 < said["elapsed_ms"] < 5000


def test_blank_stone_has_no_detections(served: Served) -> None:
    """Nothing found is an answer."""
    status, said = served.http("POST", "/predict", as_npy(marked(shape=(16, 16))))
    assert (status, said["detections"], said["tiles"]) == (200, [], 1)


def test_a_small_picture_is_continued(served: Served) -> None:
    """A picture smaller than a tile is read too, and boxes end where it ends."""
    _, said = served.http("POST", "/predict", as_npy(marked(("disc", 0, 0), shape=(7, 7))))
    assert shown(said["detections"]) == [("disc", 0.785156, (0.24, 1.53, 4.64, 7.0))]


def test_too_many_tiles_are_refused(served: Served) -> None:
    """A picture that would keep others waiting is refused before any of it is read."""
    status, said = served.http("POST", "/predict", as_npy(np.zeros((300, 300), np.uint8)))
    assert (status, said["error"]) == (413, "the picture has 1369 tiles, more than 512")


def test_the_probe_asks_for_whole_scenes(served: Served) -> None:
    """Evidence is everything found on each golden sample, in order, with a time each."""
    evidence = probe.probe(str(served.folder))
    found = [shown(answer["detections"]) for answer in evidence["answers"]]
    rounded = [
        sorted(
            (one.label, round(one.score, 4), tuple(round(side, 1) for side in one.box))
            for one in seen(*marks)
        )
        for marks in GOLDEN_MARKS
    ]
    assert rounded == found
    assert all(answer["elapsed_ms"] > 0 for answer in evidence["answers"])
    assert evidence["latency_ms"]["p50"] <= evidence["latency_ms"]["p95"] <= evidence["latency_ms"]["max"]


def test_dropped_pictures_are_answered(served: Served) -> None:
    """A photo in the spool gets its detections beside it, one that is too large its reason."""
    spool = Path(json.loads((served.folder / "config" / "serve.json").read_text())["spool"])
    (spool / "stone.npy").write_bytes(as_npy(marked(("disc", 0, 0))))
    (spool / "wall.npy").write_bytes(as_npy(np.zeros((300, 300), np.uint8)))
    answers = [spool / "stone.npy.json", spool / "wall.npy.json"]
    give_up = time.monotonic() + 10
    while not all(path.exists() for path in answers):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert [one["label"] for one in json.loads(answers[0].read_text())["detections"]] == ["disc"]
    assert "1369 tiles" in json.loads(answers[1].read_text())["error"]


def test_metrics_count_pictures_not_tiles(served: Served) -> None:
    """The histogram has one entry for each picture."""
    before, _ = counted(served), served.http("POST", "/predict", as_npy(marked(shape=(48, 80))))
    assert counted(served) == before + 1


def counted(served: Served) -> int:
    lines = served.http("GET", "/metrics")[1].splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("fleetctl_predict_seconds_count"))


def test_the_threshold_hides_and_the_probe_sees(tmp_path: Path) -> None:
    """A high threshold keeps detections back from users, and not from the proof."""
    port = free_port()
    release = marks_release(port, threshold=0.9)
    served = start_and_wait(lay_out(tmp_path, release), release, port)
    _, said = served.http("POST", "/predict", as_npy(marked(("disc", 0, 0))))
    assert (said["detections"], [one["label"] for one in said["below_threshold"]]) == ([], ["disc"])
    answers = probe.probe(str(served.folder))["answers"]
    assert [len(marks) for marks in GOLDEN_MARKS] == [len(answer["detections"]) for answer in answers]
    assert stop(served) == 0


def test_thousands_over_the_threshold(tmp_path: Path) -> None:
    """At threshold 0 every anchor is a detection: the answer is bounded, sorted, and quickly there."""
    port = free_port()
    most = detection_terms(most=40)
    release = spoilt(marks_release(port, threshold=0.0), detection=most)
    served = start_and_wait(lay_out(tmp_path, release), release, port)
    noise = np.random.default_rng(7).integers(0, 256, (160, 160), dtype=np.uint8)
    status, said = served.http("POST", "/predict", as_npy(noise))
    scores = [one["score"] for one in said["detections"]]
    assert (status, len(scores)) == (200, 40)
    assert scores == sorted(scores, reverse=True)
    assert stop(served) == 0


def test_a_box_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    """A NaN among the boxes is never served, whatever its score; the process goes on."""
    port = free_port()
    release = torn_release(marks_release(port))
    served = start_and_wait(lay_out(tmp_path, release), release, port)
    status, said = served.http("POST", "/predict", as_npy(marked(("disc", 0, 0))))
    assert (status, said) == (500, {"error": "the model gave a box that is no number"})
    assert {"error"} == set(probe.probe(str(served.folder))["answers"][0])
    assert served.http("GET", "/healthz")[0] == 200
    assert stop(served) == 0


def test_a_contract_of_another_detector_is_refused(tmp_path: Path) -> None:
    """The service does not start, and says in one line what differs."""
    release = spoilt(marks_release(free_port()), labels=["disc"])
    said = (
        "serve: model/contract.json: output.shape: expected [1, 5, 1], scores of each anchor and label, got"
    )
    assert refusal(lay_out(tmp_path, release)).startswith(said)
