"""A journal read back is the rollout that wrote it, wherever it was cut."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from little_fleet import LittleFleet
from many_boards import fleet_of

from fleetctl.events import BoardSettled, GateDecided, SoakResumed, event_json
from fleetctl.report.tale import tale_markdown
from fleetctl.report.web.report import report_html
from fleetctl.store import BlobStore
from fleetctl.tale import journal_begun, newest_journal, tell


def journal(fleet: LittleFleet) -> list[dict[str, Any]]:
    """What the verb would have written, a record a second."""
    return [{"time": float(second), **event_json(event)} for second, event in enumerate(fleet.events)]


@pytest.fixture
def fleet(tmp_path: Path) -> LittleFleet:
    return LittleFleet(BlobStore(tmp_path), count=4, faults={"b02": {"bad_answers": 1.0}})


def test_the_tale_is_what_happened(fleet: LittleFleet) -> None:
    """Verdicts, gates and the outcome are those of the rollout itself."""
    state = fleet.roll_out()
    tale = tell(journal(fleet))

    told = {board.board: board.verdict for wave in tale.waves for board in wave.boards.values()}
    assert {**fleet.verdicts(state), **told} == fleet.verdicts(state)
    assert state.outcome
    assert (state.outcome.value, state.reason) == (tale.outcome, tale.waves[-1].reason)
    assert ["open", "open", "fail"][: len(tale.waves)] == [wave.decision for wave in tale.waves]
    assert tale.seconds == len(fleet.events) - 1


def test_a_tale_may_end_anywhere(fleet: LittleFleet) -> None:
    """Every beginning of a journal tells of boards at work, none of them twice, and has no outcome yet."""
    fleet.roll_out()
    records = journal(fleet)

    for cut in range(len(records)):
        tale = tell(records[:cut])
        assert "" == tale.outcome
        assert tale.settled <= sum(len(wave.boards) for wave in tale.waves) <= 4
        assert "not finished" in tale_markdown(tale)


def test_rollouts_that_begin_in_one_second_are_two_tales(tmp_path: Path) -> None:
    """As rehearsals do; the newest is told, also beside journals of whole seconds."""
    names = ["20260101T000000Z.jsonl", *(journal_begun(tmp_path, at).name for at in (1.8e9, 1.8e9 + 0.001))]
    (tmp_path / "journal").mkdir()
    for name in reversed(names):
        (tmp_path / "journal" / name).write_text("")

    assert 3 == len(set(names))
    assert tmp_path / "journal" / names[-1] == newest_journal(tmp_path)


def test_a_gate_that_never_spoke_is_not_waited_for() -> None:
    """A shard proves its boards, and others judge the wave: its rollout has ended all the same."""
    records = [
        {"event": "WaveStarted", "number": 2, "name": "100 %", "boards": ["b01"]},
        {"event": "BoardSettled", "board": "b01", "verdict": "verified"},
        {"event": "RolloutFinished", "outcome": "done"},
    ]

    assert "| 1 verified | did not speak |" in tale_markdown(tell(records))
    assert "| 1 verified | under way |" in tale_markdown(tell(records[:2]))


def test_the_rest_of_a_soak_is_part_of_the_tale() -> None:
    """A wave of an earlier rollout has no board at work; one that falls over is told of all the same."""
    what_happened = [
        SoakResumed(1, "canary", ("b00", "b01"), 40.0),
        BoardSettled("b01", "inconclusive", ("while being watched: service is stopped",), "a" * 64),
        GateDecided(1, "pause", "b01 fell over"),
    ]
    records = [{"time": 1.0, **event_json(event)} for event in what_happened]
    (under_way,) = tell(records[:1]).waves
    (wave,) = tell(records).waves
    told = tale_markdown(tell(records))

    assert (2, 40.0, {}) == (under_way.released_before, under_way.soak_s, under_way.boards)
    assert ("pause", ["b01"]) == (wave.decision, list(wave.boards))
    assert "2 released before, watched, 1 inconclusive" in told
    assert "while being watched: service is stopped" in told


JSON = (
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=3)
)
NAMES = [
    "RolloutStarted",
    "WaveStarted",
    "BoardSettled",
    "SoakStarted",
    "SoakResumed",
    "GateDecided",
    "RolloutFinished",
    "?",
]
KEYS = [
    "time",
    "fleet",
    "commit",
    "boards",
    "number",
    "name",
    "board",
    "verdict",
    "reasons",
    "p95_ms",
    "verdicts",
]
RECORD = st.builds(
    lambda name, rest: {**rest, "event": name},
    st.sampled_from(NAMES),
    st.dictionaries(st.sampled_from(KEYS), JSON),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(RECORD, max_size=8))
def test_a_spoilt_journal_is_still_told(records: list[dict[str, Any]]) -> None:
    """Whatever a file holds, what makes no sense is left out."""
    tale_markdown(tell(records))


def test_a_journal_of_others_writes_no_markup() -> None:
    """A journal may come from another machine: what is in it is shown as text."""
    hostile = {"fleet": "<img src=x>\x1b[2J", "commit": "`<b>`", "event": "RolloutStarted", "time": 1.0}
    text = tale_markdown(tell([hostile, {"event": "RolloutFinished", "outcome": "[done](x)\n# all well"}]))

    assert not any(sign in text for sign in ("<img", "\x1b", "<b>", "[done]", "\n# all"))


@pytest.mark.parametrize("time", [1e300, -1e300, 1e15, -1e14, 10**400])
def test_a_time_that_is_none_is_left_out(time: float) -> None:
    """No clock shows it, and the rest of the tale is told."""
    tale = tell([{"event": "RolloutStarted", "time": time, "fleet": "unas", "boards": 3}])

    assert "3 boards to change" in report_html(fleet_of(3), None, tale, 1.0)
