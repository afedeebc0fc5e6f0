"""`fleetctl rollout --shard` and `--join`, on simulated boards: what machines say, write and end with."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet, say
from published import Said
from step_outputs import outputs

from fleetctl.manifest.schema import Board
from fleetctl.transports.base import Reply
from fleetctl.transports.fake import FakeTransport

SHARDS = ("1/3", "2/3", "3/3")  # of wave 2: nobody, luxor-02, karnak-01


@pytest.fixture
def fleetctl(fleetctl: Fleetctl, fleet: GitFleet) -> Fleetctl:
    """Three boards run the first commit; the second is to be rolled out, and its canary has it."""
    assert 0 == fleetctl("rollout", "--yes").status
    fleet.edit("{threshold: 0.6}}", "{threshold: 0.7}}")
    fleet.edit("host: 192.0.2.1,", "host: 192.0.2.1, config: {threshold: 0.2},")
    fleet.edit("host: 192.0.2.2,", "host: 192.0.2.2, config: {threshold: 0.2},")
    fleet.commit("Change every board")
    assert 0 == fleetctl("rollout", "--yes", "--on", "@canary").status
    return fleetctl


def prove(fleetctl: Fleetctl, shard: str, *more: str) -> Said:
    result = f"shards/{shard.partition('/')[0]}/shard.json"
    return fleetctl("rollout", "--yes", "--wave", "2", "--shard", shard, "--result", result, *more)


def loaded(fleetctl: Fleetctl) -> dict[str, str]:
    return {board["board"]: board["loaded"] for board in fleetctl("status", "-o", "json").json["boards"]}


@pytest.mark.parametrize(
    ("faults", "says"),
    [
        ("", "wave 1 (canary) has not been rolled out to luxor-01"),
        ("luxor-01: {bad_answers: 1.0}", "wave 1 (canary): 1 board of the canary failed, 0 allowed"),
        ("luxor-01: {hot: true}", "wave 1 (canary): 1 board could not be judged"),
        (
            "luxor-01: {revert_fails: true, bad_answers: 1.0}",
            "wave 1 (canary): 1 board could not be rolled back",
        ),
    ],
)
def test_no_wave_opens_before_the_one_ahead_of_it(
    fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path, faults: str, says: str
) -> None:
    """What the canary never got, or did not keep, is proved on nobody behind it, nor joined: exit 42."""
    fleet.edit("192.0.2.1, config: {threshold: 0.2}", "192.0.2.1, config: {threshold: 0.1}")
    fleet.edit("smoke: {samples: 6}", "smoke: {samples: 6, max_p95_ms: {raspberrypi4: 50}}")
    fleet.commit("Change the canary")
    (tmp_path / "faults.yaml").write_text(faults)
    if faults:
        assert fleetctl(
            "rollout", "--yes", "--on", "@canary", "--faults", str(tmp_path / "faults.yaml")
        ).status
    before = loaded(fleetctl)
    said = prove(fleetctl, "1/1")
    joined = fleetctl("rollout", "--wave", "2", "--join", "shards")

    assert (42, 42) == (said.status, joined.status)
    assert f"paused: {says}" in said.err
    assert f"! {says}" in joined.err
    assert not Path("shards/1/shard.json").exists()
    assert before == loaded(fleetctl)


def test_nobody_is_asked_more_than_is_needed(fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those ahead once by each shard that has boards, and by the join; its own once: as docs count."""
    asked: list[str] = []
    observe = FakeTransport.observe

    def counted(self: FakeTransport, boards: Sequence[Board], *, deadline: float) -> Iterator[Reply]:
        asked.extend(board.name for board in boards)
        return observe(self, boards, deadline=deadline)

    monkeypatch.setattr(FakeTransport, "observe", counted)
    found = []
    for each in (*SHARDS, ""):
        asked.clear()
        said = prove(fleetctl, each) if each else fleetctl("rollout", "--wave", "2", "--join", "shards")
        assert 0 == said.status, said.err
        found.append(list(asked))

    assert [[], ["luxor-01", "luxor-02"], ["luxor-01", "karnak-01"], ["luxor-01"]] == found


def test_a_canary_that_is_away_keeps_later_waves_shut(fleetctl: Fleetctl, tmp_path: Path) -> None:
    """Nothing speaks for the release: as for a whole rollout, whose first gate pauses then, too."""
    (tmp_path / "faults.yaml").write_text("luxor-01: {unreachable: true}\n")
    said = prove(fleetctl, "1/1", "--faults", str(tmp_path / "faults.yaml"))

    assert 42 == said.status
    assert "no board of the canary could prove the release" in said.err


def test_a_canary_that_fell_over_keeps_the_gate_behind_it_shut(fleetctl: Fleetctl, tmp_path: Path) -> None:
    """It failed while the shards were at work: what they proved stays, and no further wave opens."""
    fleetctl("rollout", "--wave", "2", "--shard", "1/1", "--result", "shards/shard.json", "--yes")
    (tmp_path / "faults.yaml").write_text("luxor-01: {unreachable: true}\n")
    proved = loaded(fleetctl)
    said = fleetctl("rollout", "--wave", "2", "--join", "shards", "--faults", str(tmp_path / "faults.yaml"))

    assert 42 == said.status
    assert "gate of wave 2: pause: wave 1 (canary): no board of the canary" in said.err
    assert proved == loaded(fleetctl)


def test_what_a_gate_allowed_keeps_no_later_wave_shut(
    fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path
) -> None:
    """A board that failed within its gate's allowance is the same to those who come later, and so is one
    that could not be judged where the gate looks away."""
    waves = "waves: [{group: canary}, {percent: 100}]"
    fleet.edit(
        waves, "waves: [{percent: 60}, {percent: 100}]\n  gate: {canary_failures: 1, inconclusive: pass}"
    )
    fleet.edit("smoke: {samples: 6}", "smoke: {samples: 6, max_p95_ms: {raspberrypi4: 50}}")
    fleet.commit("Be lenient")
    (tmp_path / "faults.yaml").write_text("luxor-02: {bad_answers: 1.0}\n")
    fleetctl("rollout", "--yes", "--on", "luxor-*", "--faults", str(tmp_path / "faults.yaml"))
    failed = prove(fleetctl, "1/1")
    (tmp_path / "faults.yaml").write_text("luxor-02: {hot: true}\n")
    fleetctl("rollout", "--yes", "--on", "luxor-*", "--faults", str(tmp_path / "faults.yaml"))
    unsure = prove(fleetctl, "1/1")

    assert [0, 0] == [failed.status, unsure.status]
    assert 0 == fleetctl("rollout", "--wave", "2", "--join", "shards").status


def test_three_machines_and_one_gate(fleetctl: Fleetctl) -> None:
    """Each proves its own boards and no other; the gate counts all of them."""
    said = [prove(fleetctl, shard) for shard in SHARDS]
    joined = fleetctl("rollout", "--wave", "2", "--join", "shards", "-o", "json")

    assert [0, 0, 0] == [each.status for each in said]
    assert "nothing to do" in said[0].err
    assert "luxor-02: verified" in said[1].err
    assert "luxor-02" not in said[2].err
    assert "gate of wave" not in said[1].err
    assert (0, "done") == (joined.status, joined.json["outcome"])
    assert {"luxor-02": "verified", "karnak-01": "verified"} == {
        board["board"]: board["verdict"] for board in joined.json["boards"]
    }
    assert "gate of wave 2: open: 2 boards verified" in joined.err
    assert 0 == fleetctl("plan").status


def test_a_join_that_was_cut_short_is_not_forgotten(
    fleet: GitFleet, fleetctl: Fleetctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards that are run again have nothing to do; the canary is watched for the rest, the last wave not."""
    monkeypatch.setattr("fleetctl.driver.RealClock.sleep", lambda *_: None)
    fleet.edit("[{group: canary}, {percent: 100}]", "[{group: canary, soak: 10m}, {percent: 100, soak: 10m}]")
    fleet.edit("192.0.2.1, config: {threshold: 0.2}", "192.0.2.1, config: {threshold: 0.1}")
    fleet.commit("Watch every wave")
    joined = []
    for wave in ("1", "2"):
        shard = ("rollout", "--yes", "--wave", wave, "--shard", "1/1", "--result", f"{wave}/shard.json")
        assert [0, 0] == [fleetctl(*shard).status for _ in range(2)]
        joined.append(fleetctl("rollout", "--wave", wave, "--join", wave))

    assert [0, 0] == [each.status for each in joined]
    assert "wave 1 (canary): 1 board of an earlier rollout\n" in joined[0].err
    assert "watching for another 10 min" in joined[0].err
    assert "watching" not in joined[1].err


def test_a_failed_gate_takes_back_what_other_machines_proved(fleetctl: Fleetctl, tmp_path: Path) -> None:
    """karnak-01 fails in its shard; luxor-02, proved in another, goes back with it: exit 40."""
    before = loaded(fleetctl)
    (tmp_path / "faults.yaml").write_text("karnak-01: {bad_answers: 1.0}\n")
    said = [prove(fleetctl, shard, "--faults", str(tmp_path / "faults.yaml")) for shard in SHARDS]
    proved = loaded(fleetctl)
    joined = fleetctl("rollout", "--wave", "2", "--join", "shards")

    assert [0, 0, 40] == [each.status for each in said]
    assert before["luxor-02"] != proved["luxor-02"]
    assert 40 == joined.status
    assert "gate of wave 2: fail: 50 % verified, 95 % needed" in joined.err
    assert "rolling back 1 board" in joined.err
    assert before == loaded(fleetctl)


def test_a_gate_that_allows_for_a_failure_opens(fleet: GitFleet, fleetctl: Fleetctl, tmp_path: Path) -> None:
    """The shard of the failed board ends in 40; the gate says how many went back, and opens."""
    waves = "waves: [{group: canary}, {percent: 100}]"
    fleet.edit(waves, f"{waves}\n  gate: {{success: 0.5}}")
    fleet.commit("Be lenient")
    (tmp_path / "faults.yaml").write_text("karnak-01: {bad_answers: 1.0}\n")
    said = [prove(fleetctl, shard, "--faults", str(tmp_path / "faults.yaml")) for shard in SHARDS]
    joined = fleetctl("rollout", "--wave", "2", "--join", "shards")

    assert [0, 0, 40] == [each.status for each in said]
    assert 0 == joined.status
    assert "the gate allows for 1 of 2 boards that went back" in joined.err


def test_a_machine_that_gave_no_result_keeps_the_gate_shut(fleetctl: Fleetctl) -> None:
    """Exit 42 names the shard, and what to do; nobody goes back, and once it has run the gate opens."""
    for shard in SHARDS[:2]:
        prove(fleetctl, shard)
    lost = fleetctl("rollout", "--wave", "2", "--join", "shards")
    prove(fleetctl, SHARDS[2])

    assert 42 == lost.status
    assert "karnak-01  inconclusive" in lost.out
    assert "1 board could not be judged" in lost.err
    assert "no result of shard 3/3 of wave 2" in lost.out
    assert "hint: run again each shard whose result is not in shards, then join again\n" in lost.err
    assert 0 == fleetctl("rollout", "--wave", "2", "--join", "shards").status


def test_a_run_that_is_refused_leaves_no_result_of_an_earlier_one(fleetctl: Fleetctl, tmp_path: Path) -> None:
    """Else a result of yesterday would pass for today's."""
    prove(fleetctl, SHARDS[2])
    (tmp_path / "faults.yaml").write_text("karnak-01: {refused: true}\n")
    said = prove(fleetctl, SHARDS[2], "--faults", str(tmp_path / "faults.yaml"))

    assert 31 == said.status
    assert not Path("shards/3/shard.json").exists()


def test_no_result_at_all_is_no_success(fleetctl: Fleetctl) -> None:
    """A folder that was never filled pauses too."""
    assert 42 == fleetctl("rollout", "--wave", "2", "--join", "nowhere").status


def test_results_of_another_commit_are_stale(fleet: GitFleet, fleetctl: Fleetctl) -> None:
    """Exit 11, and nothing is judged."""
    for shard in SHARDS:
        prove(fleetctl, shard)
    fleet.commit("Something else")
    said = fleetctl("rollout", "--wave", "2", "--join", "shards")

    assert 11 == said.status
    assert "is about commit" in said.err


def test_a_step_of_a_workflow_hears_whether_the_next_wave_opens(
    fleetctl: Fleetctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open` decides; `next` is empty behind the last wave."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for name in ("OUTPUT", "STEP_SUMMARY"):
        monkeypatch.setenv(f"GITHUB_{name}", str(tmp_path / name))
    shut = fleetctl("rollout", "--wave", "2", "--join", "shards").status
    first = outputs((tmp_path / "OUTPUT").read_text())
    for shard in SHARDS:
        prove(fleetctl, shard)
    opened = fleetctl("rollout", "--wave", "2", "--join", "shards").status
    last = outputs((tmp_path / "OUTPUT").read_text())
    canary = prove(fleetctl, "1/1", "--wave", "1").status

    assert (42, "false", "") == (shut, first["open"], first["next"])
    assert (0, "true", "") == (opened, last["open"], last["next"])
    assert 0 == canary
    assert "wave 2, all shards" in (tmp_path / "STEP_SUMMARY").read_text()


def test_there_is_a_next_wave_behind_one_that_is_not_the_last(
    fleetctl: Fleetctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number is what the next job of the workflow is told."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "out"))
    fleetctl("rollout", "--yes", "--wave", "1", "--shard", "1/1", "--result", "canary/shard.json")
    said = fleetctl("rollout", "--wave", "1", "--join", "canary")

    assert 0 == said.status
    assert "2" == outputs((tmp_path / "out").read_text())["next"]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("--wave 2", "give either --shard or --join"),
        ("--result f.json", "give either --shard or --join"),
        ("--wave 2 --shard 1/2 --join x --result y", "give either --shard or --join"),
        ("--shard 1/2 --result f.json", "--wave is missing"),
        ("--join x", "--wave is missing"),
        ("--wave 0 --shard 1/2 --result f.json", "waves count from 1"),
        ("--wave 0", "waves count from 1"),
        ("--wave 2 --shard 1/2", "--result is missing"),
        ("--wave 2 --join x --result y", "--result goes with --shard"),
        ("--wave 2 --shard 3/2 --result f.json", "'3/2' is no shard"),
        ("--wave 3 --shard 1/2 --result f.json", "there is no wave 3: unas has 2"),
        ("--wave 3 --join x", "there is no wave 3: unas has 2"),
        ("--wave 2 --shard 1/2 --result f.json --on @canary", "--on does not go with a part of a wave"),
        ("--wave 2 --join x --plan p.json", "--plan does not go with a part of a wave"),
    ],
)
def test_options_that_do_not_go_together(
    fleet: GitFleet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    what: str,
) -> None:
    """Exit 2, one sentence, and nothing is written."""
    monkeypatch.setenv("FLEETCTL_TRANSPORT", "fake")
    said = say(capsys, "rollout", "--yes", *words.split())

    assert 2 == said.status
    assert what in said.err
    assert not (fleet.root / "f.json").exists()
