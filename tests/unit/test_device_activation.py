"""The life of a board, on real processes: releases are tried, proved, kept, or taken back."""

import json
import os
import resource
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_board import (
    LABELS,
    MODELS,
    TinyBoard,
    TinyRelease,
    answers_wrongly,
    bundle,
    powered,
    tiny_contract,
    tiny_release,
)

from fleetctl.device.activate import no_checkpoint
from fleetctl.device.durable import atomic_write
from fleetctl.device.files import names
from fleetctl.device.layout import Board
from fleetctl.device.locks import locked
from fleetctl.device.release_files import parse_manifest
from fleetctl.device.space import collect
from fleetctl.device.staging import stage
from fleetctl.device.vitals import has_edge_tpu
from fleetctl.store import canonical_json, sha256


@pytest.fixture(scope="module")
def shared_board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyBoard]:
    with powered(tmp_path_factory.mktemp("shared") / "root") as board:
        yield board


@pytest.fixture
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TinyBoard]:
    """A bare board; with `good`, the one that all those tests share: bringing one up takes a second."""
    if "good" in request.fixturenames:
        yield request.getfixturevalue("shared_board")
        return
    with powered(tmp_path / "root") as board:
        yield board


@pytest.fixture
def good(shared_board: TinyBoard) -> TinyRelease:
    """A release that the shared board has proved, keeps, and serves when the test begins."""
    release = tiny_release(shared_board.port)
    shared_board.return_to(release)
    return release


def test_a_release_is_pending_until_it_is_confirmed(board: TinyBoard) -> None:
    """A proved release waits for the controller, and is good only once the controller came back."""
    release = tiny_release(board.port)
    reply = board.activate(release)
    assert (reply["state"], reply["receipt"]["outcome"]) == ("pending", "passed")
    assert [answer["label"] for answer in reply["receipt"]["answers"]] == list(LABELS)
    assert board.ask("observe")["good"] is None
    assert board.confirm(release)["state"] == "confirmed"
    seen = board.ask("observe")
    assert (seen["good"], seen["current"], seen["pending"]) == (release.digest, release.digest, None)
    assert seen["service"]["loaded"]["release"] == seen["receipt"]["loaded"]["release"] == release.digest
    assert seen["receipt"]["state"] == "confirmed"


def test_a_release_with_wrong_answers_goes_back_at_once(board: TinyBoard, good: TinyRelease) -> None:
    """A model whose labels are in another order than the golden answers' never stays."""
    reply = board.activate(answers_wrongly(good))
    assert reply["state"] == reply["receipt"]["state"] == "reverted"
    assert reply["receipt"]["reasons"] == ["0 of 4 golden answers agree; at least 100% have to"]
    assert board.serves() == board.current == good.digest
    assert [r["state"] for r in board.ask("history", {"last": 1})["receipts"]] == ["reverted"]


@pytest.mark.parametrize(
    ("path", "data", "said"),
    [
        ("model/model.tflite", b"junk" * 400, "the model does not load"),
        (
            "model/contract.json",
            tiny_contract(labels=LABELS[:3]).to_json(),
            "the contract has 3 labels, the model has 4",
        ),
        ("runtime/serve.py", b"raise SystemExit('out of order')\n", "out of order"),
        ("config/serve.json", b"{}", "gives no host and port"),
    ],
)
def test_a_service_that_dies_is_not_waited_for(
    board: TinyBoard, good: TinyRelease, path: str, data: bytes, said: str
) -> None:
    """The board goes back as soon as the new service ends, and the reason holds its last words."""
    reply = board.activate(good.with_file(path, data), deadline=60.0)
    assert reply["state"] == "reverted"
    assert said in reply["receipt"]["reasons"][0]
    assert board.serves() == board.current == good.digest


def test_a_poisoned_model_goes_back(board: TinyBoard, good: TinyRelease) -> None:
    """Scores that are no numbers are no answers."""
    contract = json.loads(good.files["model/contract.json"])
    for end in ("input", "output"):
        contract[end].update(dtype="float32", scale=0.0)
    poisoned = good.with_file("model/model.tflite", (MODELS / "poisoned.tflite").read_bytes())
    reply = board.activate(poisoned.with_file("model/contract.json", canonical_json(contract)))
    assert reply["state"] == "reverted"
    why = "answer 1 could not be had: the model gave a score that is no number"
    assert why in reply["receipt"]["reasons"]
    assert board.serves() == good.digest


def test_a_slow_release_goes_back(board: TinyBoard, good: TinyRelease) -> None:
    """A budget that no board can meet is not met."""
    reply = board.activate(good.with_json("config/smoke.json", max_p95_ms=0.0001))
    assert reply["state"] == "reverted"
    assert "is over the budget of 0.0001 ms" in reply["receipt"]["reasons"][0]


@pytest.mark.skipif(has_edge_tpu(), reason="this machine has an Edge TPU")
def test_a_missing_accelerator_is_never_replaced_in_silence(board: TinyBoard, good: TinyRelease) -> None:
    """`required` without an Edge TPU does not run on the CPU: it goes back; nothing was learnt."""
    wanting = good.with_json("config/serve.json", accelerator="required")
    reply = board.activate(wanting.with_json("config/smoke.json", accelerator="required"))
    assert (reply["state"], reply["receipt"]["outcome"]) == ("reverted", "inconclusive")
    assert "the Edge TPU is required" in reply["receipt"]["reasons"][0]
    assert "no accelerator to ask" in reply["receipt"]["reasons"]
    assert board.serves() == good.digest


def test_nobody_confirms(board: TinyBoard, good: TinyRelease) -> None:
    """A controller that never comes back costs one restart, not the board."""
    reply = board.activate(tiny_release(board.port, threshold=0.9), confirm_timeout=0.1)
    assert reply["state"] == "pending"
    board.wait_until_settled()
    assert board.serves() == board.current == good.digest
    assert board.ask("observe")["receipt"]["reasons"] == ["nobody confirmed the release in time"]
    assert board.confirm(tiny_release(board.port, threshold=0.9))["code"] == "not-pending"


def test_a_first_release_that_fails_leaves_nothing(board: TinyBoard) -> None:
    """With no release from before, going back means that nothing runs, and the receipt says so."""
    reply = board.activate(answers_wrongly(tiny_release(board.port)))
    assert (reply["state"], reply["current"]) == ("reverted", None)
    assert reply["receipt"]["restored"] is None
    assert not (board.root / "current").is_symlink()
    assert board.serves() is None
    assert board.ask("observe")["service"]["state"] == "absent"


def test_an_old_process_on_the_port_proves_nothing(board: TinyBoard) -> None:
    """A server that is not ours and answers on our port is not taken for the release."""
    with socket.create_server(("127.0.0.1", board.port)):
        reply = board.activate(tiny_release(board.port))
    assert reply["state"] == "reverted"
    assert "cannot listen on 127.0.0.1" in reply["receipt"]["reasons"][0]


def test_the_same_release_again_changes_nothing(board: TinyBoard, good: TinyRelease) -> None:
    """A good release is proved again by the very process that serves it."""
    pid = board.healthz()["pid"]
    reply = board.activate(good)
    assert (reply["state"], reply["receipt"]["outcome"]) == ("unchanged", "passed")
    assert board.healthz()["pid"] == reply["receipt"]["loaded"]["pid"] == pid


def test_a_dead_service_is_brought_back(board: TinyBoard, good: TinyRelease) -> None:
    """`recover` starts what should run, as after a boot."""
    board.cut_power()
    assert board.serves() is None
    assert board.ask("recover")["state"] == "clean"
    assert board.serves() == good.digest


def test_the_controller_says_no(board: TinyBoard, good: TinyRelease) -> None:
    """A pending release that the controller does not believe in goes back when told to."""
    other = tiny_release(board.port, threshold=0.9)
    board.activate(other)
    reply = board.ask("revert", {"to": None, "reason": "the controller disagrees"})
    assert (reply["state"], reply["current"]) == ("reverted", good.digest)
    assert reply["receipt"]["release"] == other.digest
    assert reply["receipt"]["reasons"] == ["the controller disagrees"]


def test_what_board_and_controller_agree_on_is_written_down_once(board: TinyBoard, good: TinyRelease) -> None:
    """Who could not be judged is told to go back for the reasons that its receipt has."""
    receipt = board.activate(good.with_json("config/smoke.json", accelerator="required"))["receipt"]
    no = {"to": None, "trial": receipt["release"], "reason": "; ".join(receipt["reasons"])}
    reply = board.ask("revert", no)

    assert ("reverted", "inconclusive") == (reply["state"], receipt["outcome"])
    assert receipt["reasons"] == reply["receipt"]["reasons"]


def test_a_late_no_moves_nobody(board: TinyBoard, good: TinyRelease) -> None:
    """A board that went back by itself, or took another order, does not leave what it confirmed."""
    bad, better = tiny_release(board.port, threshold=0.9), tiny_release(board.port, threshold=0.8)
    no = {"to": None, "trial": bad.digest, "reason": "the controller disagrees"}
    before = tiny_release(board.port, threshold=0.7)
    board.install(before)
    board.install(good)
    board.activate(bad)
    assert [good.digest] * 2 == [board.ask("revert", no)["current"] for _ in range(2)]
    board.install(better)
    assert (better.digest, better.digest) == (board.ask("revert", no)["current"], board.serves())
    board.activate(before)
    assert board.ask("revert", no)["current"] == before.digest
    assert board.ask("confirm", {"release": before.digest})["state"] == "confirmed"
    assert board.ask("revert", {**no, "trial": before.digest})["code"] == "not-pending"
    assert board.serves() == before.digest


def test_a_late_no_is_told_of_a_way_back_that_failed(board: TinyBoard, good: TinyRelease) -> None:
    """Nobody confirmed in time, and the board found what it went back to damaged: it does not serve that."""
    bad = tiny_release(board.port, threshold=0.9)
    board.activate(bad, confirm_timeout=1.0)
    model = board.root / "releases" / good.digest / "model" / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"junk")  # its blob too, which is the same file
    board.wait_until_settled(60.0)
    late = board.ask("revert", {"to": None, "trial": bad.digest, "reason": "the controller disagrees"})

    assert (False, "revert-failed", None) == (late["ok"], late.get("code"), board.serves())
    assert "the model does not load" in late["error"] or "was altered" in late["error"]


def test_a_newer_order_replaces_a_pending_one(board: TinyBoard, good: TinyRelease) -> None:
    """A second release on top of an unconfirmed one still goes back to the last good one."""
    board.activate(tiny_release(board.port, threshold=0.8))
    newer = tiny_release(board.port, threshold=0.9)
    reply = board.activate(newer, confirm_timeout=0.1)
    assert (reply["state"], reply["receipt"]["previous"]) == ("pending", good.digest)
    board.wait_until_settled()
    assert board.serves() == board.current == good.digest


def test_two_at_once(board: TinyBoard, good: TinyRelease) -> None:
    """Two controllers at the same time are served one after the other; the later one is pending."""
    orders = [board.activation(tiny_release(board.port, threshold=t)) for t in (0.8, 0.9)]
    processes = [board.start("activate", request, payload) for request, payload in orders]
    replies = [board.finish(process) for process in processes]
    assert [reply["state"] for reply in replies] == ["pending", "pending"]
    assert board.serves() == board.current
    assert board.current in {request["release"] for request, _ in orders}
    assert board.ask("observe")["pending"]["previous"] == good.digest


def test_a_held_lock_names_its_holder(board: TinyBoard, good: TinyRelease) -> None:
    """A verb that cannot have the lock gives up in time, and says who has it."""
    with locked(Board(str(board.root)), "a test", 5.0):
        reply = board.ask("confirm", {"release": good.digest, "lock_timeout": 0.1})
    assert reply["code"] == "busy"
    assert f"a test, pid {os.getpid()}, since" in reply["error"]


def test_only_three_releases_are_kept(tmp_path: Path) -> None:
    """The newest three stay, and whatever is in use; blobs go with the last release that needs them."""
    folders = Board(str(tmp_path / "root"))
    folders.make_folders()
    releases = [tiny_release(8091, threshold=t / 10) for t in range(6)]
    for age, release in enumerate(releases):
        for digest, data in release.blobs.items():
            atomic_write(folders.blob(digest), data, 0o444)
        files = parse_manifest(release.release.manifest.decode(), release.digest)
        stage(folders, release.digest, release.release.manifest.decode(), files, no_checkpoint)
        os.utime(folders.release(release.digest), (age, age))
    collect(folders, {releases[0].digest, None})
    kept = [releases[0], *releases[-2:]]
    assert set(folders.staged()) == {release.digest for release in kept}
    assert set(names(folders.blobs)) == {digest for release in kept for digest in release.blobs}


def test_damaged_blobs_are_sent_again(board: TinyBoard, good: TinyRelease) -> None:
    """A file changed behind our back shows in `observe`, and the next activation repairs it."""
    model = board.root / "current" / "model" / "model.tflite"
    whole = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(whole[:-1] + b"?")  # the blob too: they are one file
    assert board.ask("observe")["files"]["model/model.tflite"]["sha256"] != board.healthz()["model_sha256"]
    assert len(board.ask("missing", {"blobs": sorted(good.blobs)})["missing"]) == 1
    board.install(good)
    assert model.read_bytes() == whole
    assert board.ask("missing", {"blobs": sorted(good.blobs)})["missing"] == []


def test_a_file_that_cannot_be_read_is_sent_again(board: TinyBoard, good: TinyRelease) -> None:
    """A bad block of a card, or here a link that leads nowhere, is an altered file like any other."""
    model = board.root / "current" / "model" / "model.tflite"
    blob = board.root / "blobs" / "sha256" / sha256(model.read_bytes())
    for path in (model, blob):
        path.unlink()
        path.symlink_to(path.name)  # to itself
    assert board.ask("observe")["altered"]["model/model.tflite"]["sha256"] is None
    assert board.ask("missing", {"blobs": sorted(good.blobs)})["missing"] == [blob.name]
    board.install(good)
    assert blob.read_bytes() == model.read_bytes() == good.files["model/model.tflite"]


@pytest.mark.parametrize(
    "said", ['{"outcome": "failed", "reasons": null}', '{"reasons": [1]}', "[" * 100_000]
)
def test_a_judge_that_talks_nonsense_fails_its_release(
    board: TinyBoard, good: TinyRelease, said: str
) -> None:
    """It is the new release's own code: whatever it prints, the board goes back at once, and says why."""
    reply = board.activate(good.with_file("runtime/judge.py", b"print(%r)" % said))
    assert (reply["ok"], reply["state"]) == (True, "reverted")
    assert board.serves() == board.current == good.digest
    assert not board.pending


def test_a_note_of_what_is_good_that_is_no_text(board: TinyBoard, good: TinyRelease) -> None:
    """A damaged card does not keep a board from being looked at, and given a release."""
    (board.root / "state" / "good").write_bytes(b"\xff" * 65)
    assert board.ask("observe")["good"] is None
    board.install(good)
    assert board.good == good.digest


@pytest.mark.parametrize("between", [0, 1])
def test_a_damaged_older_release_goes(board: TinyBoard, good: TinyRelease, between: int) -> None:
    """A release that was altered behind our back is not kept to go back to, and none of its blobs stays."""
    first = good.with_file("config/notes", b"whole")
    board.install(first)
    for number in range(between):
        board.install(good.with_file("config/notes", b"%d" % number))
    notes = board.root / "releases" / first.digest / "config" / "notes"
    notes.chmod(0o644)
    notes.write_bytes(b"holes")  # the blob too: they are one file
    board.install(good)

    blobs = list((board.root / "blobs" / "sha256").iterdir())
    assert not (board.root / "releases" / first.digest).exists()
    assert [blob.name for blob in blobs] == [sha256(blob.read_bytes()) for blob in blobs]
    assert board.serves() == good.digest


def test_a_full_disk_changes_nothing(board: TinyBoard, good: TinyRelease) -> None:
    """Running out of space while blobs arrive leaves the old release serving and no litter behind."""
    big = good.with_file("model/notes.bin", os.urandom(300_000))
    litter = set((board.root / "blobs" / "sha256").iterdir()) | set((board.root / "releases").iterdir())

    def little_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    reply = board.activate(big, limit=little_space)
    assert (reply["ok"], reply["code"]) == (False, "no-space")
    assert board.serves() == board.current == good.digest
    now = set((board.root / "blobs" / "sha256").iterdir()) | set((board.root / "releases").iterdir())
    assert [path for path in now - litter if path.name.startswith(".")] == []


def test_too_little_space_is_said_before_anything_is_sent(board: TinyBoard, good: TinyRelease) -> None:
    """A release that cannot fit is refused by its sizes alone."""
    request, _ = board.activation(good)
    files = {
        **json.loads(request["manifest"])["files"],
        "model/vast.bin": {"sha256": "0" * 64, "size": 1 << 50},
    }
    manifest = canonical_json({"schema": "fleetctl.release/v1", "files": files})
    digest = sha256(manifest)
    reply = board.ask("activate", {**request, "release": digest, "manifest": manifest.decode()})
    assert reply["code"] == "no-space"
    assert "KiB of disk are free" in reply["error"]


def test_a_foreign_root_is_kept_before_it_is_touched(board: TinyBoard) -> None:
    """What somebody else had there goes into a snapshot, and comes back when the first release fails."""
    (board.root / "app-1.2").mkdir(parents=True)
    (board.root / "app-1.2" / "labels.txt").write_text("G17\n")
    (board.root / "current").symlink_to("app-1.2")
    assert board.ask("observe")["foreign"] is True
    reply = board.activate(answers_wrongly(tiny_release(board.port)))
    assert reply["state"] == "reverted"
    assert (board.root / "current").readlink() == Path("app-1.2")
    (snapshot,) = (board.root / "snapshot").glob("*.tar")
    with tarfile.open(snapshot) as tar:
        assert {"app-1.2/labels.txt", "current"} <= set(tar.getnames())
    assert board.ask("observe")["foreign"] is False


def test_a_foreign_folder_called_current_comes_back(board: TinyBoard) -> None:
    """Even a `current` that is a folder, which no rename can replace."""
    (board.root / "current").mkdir(parents=True)
    (board.root / "current" / "app.py").write_text("print('hello')\n")
    assert board.activate(answers_wrongly(tiny_release(board.port)))["state"] == "reverted"
    assert (board.root / "current" / "app.py").read_text() == "print('hello')\n"
    board.install(tiny_release(board.port))
    assert (board.root / "current").is_symlink()


def test_bundles_are_checked_member_by_member(board: TinyBoard, good: TinyRelease) -> None:
    """Bytes that are not what they are called, were not asked for, or stop too soon never become blobs."""
    other = good.with_file("model/notes.txt", b"a note")
    (digest,) = set(other.blobs) - set(good.blobs)
    request, payload = board.activation(other)
    wrong = bundle({digest: b"a lie!"})
    stray = bundle({"0" * 64: b"stray"})
    for sent in (wrong, stray, payload[:514], b"x" * 2000):
        reply = board.ask("activate", {**request, "bundle_bytes": max(len(sent), 600)}, sent)
        assert (reply["ok"], reply["code"]) == (False, "bad-bundle")
    assert board.ask("activate", {**request, "bundle_bytes": 0})["code"] == "missing-blobs"
    assert not (board.root / "blobs" / "sha256" / digest).exists()
    assert board.serves() == board.current == good.digest


def difference(base: TinyRelease, release: TinyRelease) -> dict[str, Any]:
    """What `release` changes of `base`, as a controller says it that has seen the board run `base`."""
    files, before = release.release.files, base.release.files
    changed = {path: ref for path, ref in files.items() if before.get(path) != ref}
    return {
        "base": base.digest,
        "files": {path: {"sha256": ref.sha256, "size": ref.size} for path, ref in changed.items()},
        "without": sorted(before.keys() - files.keys()),
    }


def test_a_release_is_told_by_what_it_changes(board: TinyBoard, good: TinyRelease) -> None:
    """A board completes the manifest from a release that it has, and knows it by its digest."""
    other = good.with_file("model/notes.txt", b"a note")
    assert board.activate(other, manifest=difference(good, other))["state"] == "pending"
    assert board.confirm(other)["state"] == "confirmed"
    assert board.activate(good, manifest=difference(other, good))["state"] == "pending"


@pytest.mark.parametrize(
    "changes",
    [{"base": "0" * 64}, {"base": None}, {"files": {}}, {"files": {"model/notes.txt": 1}}, {"without": None}],
)
def test_a_difference_that_leads_elsewhere_is_refused(
    board: TinyBoard, good: TinyRelease, changes: dict[str, Any]
) -> None:
    """A release that is not here, or is not what it was, brings no other: the board asks for the whole."""
    other = good.with_file("model/notes.txt", b"a note")
    told = board.activate(other, manifest={**difference(good, other), **changes})

    assert (told["ok"], told["code"]) == (False, "unknown-base")
    assert board.serves() == board.current == good.digest


def test_logs_are_the_services_own(board: TinyBoard, good: TinyRelease) -> None:
    """`logs` gives the last lines that the service wrote."""
    (line,) = board.ask("logs", {"lines": 1})["lines"]
    assert line == f"serve: release {good.digest[:12]} on 127.0.0.1:{board.port}"
