"""A wave split over machines: who is whose, what a result is, and which results are refused."""

import json
from collections.abc import Mapping
from pathlib import Path

import jsonschema
import pytest
from little_fleet import LittleFleet
from msgspec.structs import replace

from fleetctl.errors import FleetError, PlanStale, UsageError
from fleetctl.manifest.schema import Board, BoardKind, VariantName, Via
from fleetctl.plan import Action, Step, WaveSteps
from fleetctl.schemas import SCHEMAS
from fleetctl.sharding import (
    SHARD_SCHEMA,
    Joined,
    Shard,
    ShardResult,
    in_shard,
    join,
    read_result,
    shard_of,
)
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.store import BlobStore, canonical_json, sha256

COMMIT = "c0ffee" * 6 + "cafe"
RELEASE = sha256(b"a release")


@pytest.fixture
def world(tmp_path: Path) -> LittleFleet:
    """Twelve boards: the canary, five in wave 2, six in wave 3."""
    return LittleFleet(BlobStore(tmp_path), count=12)


def result(world: LittleFleet, wave: int, shard: str) -> ShardResult:
    """All boards of a shard updated and verified."""
    part, fleet = Shard.parse(shard), world.fleet
    steps = tuple(Step(b, Action.UPDATE, ("why",), None, RELEASE) for b in in_shard(fleet, wave, part))
    verdicts = {s.board: BoardVerdict(s.board, Verdict.VERIFIED, (), {"board": s.board}) for s in steps}
    return ShardResult(fleet.name, COMMIT, part, WaveSteps(wave, "50 %", 0.0, steps), verdicts)


def joined(world: LittleFleet, wave: int, results: Mapping[str, ShardResult]) -> Joined:
    desired = dict.fromkeys(world.fleet.boards, RELEASE)
    return join(world.fleet, wave, results, commit=COMMIT, desired=desired)


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "3", "3/", "/8", "-1/8", "3/0", "03/8", "3/8 ", "3/99999", ""]
)
def test_what_is_no_shard_is_refused(text: str) -> None:
    """Counted from one, not more than there are."""
    with pytest.raises(UsageError, match="is no shard"):
        Shard.parse(text)


def test_who_is_whose_is_part_of_the_format() -> None:
    """The split must not move between versions: machines of one rollout may differ in theirs."""
    boards = [
        Board(n, BoardKind.GENERIC, "m", VariantName.INT8) for n in ("luxor-01", "luxor-02", "karnak-01")
    ]

    assert [[2, 1, 1], [2, 2, 3]] == [[shard_of(board, of) for board in boards] for of in (2, 3)]


def test_boards_of_a_hub_are_all_the_first_shards() -> None:
    """A hub does the fan-out by itself, by deployments that its boards share."""
    boards = [Board(f"b{i}", BoardKind.GENERIC, "m", VariantName.INT8, via=Via.IOTHUB) for i in range(50)]

    assert {1} == {shard_of(board, 8) for board in boards}


def test_a_result_survives_its_file(world: LittleFleet) -> None:
    """What is read is what was written, and it is what the published schema says."""
    found = result(world, 2, "1/2")
    written = canonical_json(found.to_json())

    assert found == read_result("shard.json", written)
    jsonschema.validate(json.loads(written), SCHEMAS[SHARD_SCHEMA])


def test_a_receipt_that_json_cannot_hold_spoils_nothing(world: LittleFleet) -> None:
    """A board that answers with an infinity loses its receipt, not the results of its shard."""
    found = result(world, 2, "1/2")
    board = next(iter(found.verdicts))
    endless = replace(found.verdicts[board], receipt={"p95": float("inf")})
    spoilt = replace(found, verdicts={**found.verdicts, board: endless})

    assert {} == read_result("f", canonical_json(spoilt.to_json())).verdicts[board].receipt


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (b'{"schema": "fleetctl.plan/v1"}', "expected 'fleetctl.shard/v1'"),
        (b'{"schema": "fleetctl.shard/v1", "plan": {"fleet": "x", "waves": 3}}', "no result"),
        (b'{"schema": "fleetctl.shard/v1", "plan": {"fleet": "x", "waves": []}, "verdicts": []}', "one wave"),
    ],
)
def test_what_is_no_result_is_refused_by_its_name(data: bytes, what: str) -> None:
    """A file that is cut off, or another one, is named."""
    with pytest.raises(UsageError, match=r"shards/a\.json is no result of a shard") as refused:
        read_result("shards/a.json", data)

    assert what in str(refused.value)


def test_all_shards_are_the_wave(world: LittleFleet) -> None:
    """In the order of the manifest, with every verdict, and nothing in doubt."""
    found = joined(world, 2, {name: result(world, 2, name) for name in ("1/3", "2/3", "3/3")})

    assert [f"b{i:02}" for i in range(1, 6)] == [step.board for step in found.plan.waves[0].steps]
    assert ({Verdict.VERIFIED}, "") == ({v.verdict for v in found.verdicts.values()}, found.doubt)


def test_boards_of_a_missing_shard_are_inconclusive(world: LittleFleet) -> None:
    """Nobody knows how they are, and the sentence that keeps the gate shut says whose they were."""
    found = joined(world, 2, {name: result(world, 2, name) for name in ("1/3", "3/3")})
    lost = set(in_shard(world.fleet, 2, Shard(2, 3)))

    assert lost == {b for b, said in found.verdicts.items() if said.verdict is Verdict.INCONCLUSIVE}
    assert lost
    assert "no result of shard 2/3 of wave 2" == found.doubt


def test_an_empty_shard_that_is_missing_is_missed(world: LittleFleet) -> None:
    """It would have had nothing to say, but nobody knows that it was there to say it."""
    one = result(world, 1, "1/2"), result(world, 1, "2/2")
    full = next(each for each in one if each.verdicts)
    found = joined(world, 1, {"f": full})

    assert found.doubt.startswith("no result of shard ")


def test_without_any_result_all_boards_are_in_doubt(world: LittleFleet) -> None:
    """A folder that is empty is no success."""
    found = joined(world, 2, {})

    assert 5 == len(found.verdicts)
    assert "no shard of wave 2 gave a result" == found.doubt


def test_earlier_waves_come_along(world: LittleFleet) -> None:
    """So that `revert: all` knows whom to take back; one of them that is incomplete is in doubt too."""
    both = {"a": result(world, 2, "1/1"), "b": result(world, 3, "1/2")}
    found = joined(world, 3, both)

    assert [2, 3] == [wave.number for wave in found.plan.waves]
    assert "no result of shard 2/2 of wave 3" == found.doubt


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        ({"fleet": "other"}, UsageError, "is about the fleet other, and this is little"),
        ({"commit": "f" * 40}, PlanStale, "is about commit ffffffffffff"),
        ({"shard": Shard(2, 3)}, PlanStale, "is not about the boards of shard 2/3"),
    ],
)
def test_results_of_something_else_are_refused(
    world: LittleFleet, change: dict[str, object], kind: type[FleetError], what: str
) -> None:
    """Another fleet's, another commit's, another manifest's."""
    wrong = replace(result(world, 2, "1/3"), **change)  # type: ignore[arg-type]

    with pytest.raises(kind, match=what):
        joined(world, 2, {"a.json": wrong})


def test_another_release_than_git_says_is_refused(world: LittleFleet) -> None:
    """What was proved must be what is judged."""
    found = result(world, 2, "1/1")
    with pytest.raises(PlanStale, match="b01 was to run another release than git says now"):
        join(world.fleet, 2, {"a": found}, commit=COMMIT, desired=dict.fromkeys(world.fleet.boards, "0" * 64))


def test_two_results_of_one_shard_are_refused(world: LittleFleet) -> None:
    """Nobody could say which one counts."""
    twice = {"a": result(world, 2, "1/2"), "b": result(world, 2, "1/2")}
    with pytest.raises(UsageError, match=r"shard 1/2 of wave 2 has 2 results: a \(1/2\), b \(1/2\)"):
        joined(world, 2, twice)


def test_results_of_two_splits_are_refused(world: LittleFleet) -> None:
    """Half of one split and a third of another are no wave."""
    mixed = {"a": result(world, 2, "1/2"), "b": result(world, 2, "1/3")}
    with pytest.raises(UsageError, match="come from different splits"):
        joined(world, 2, mixed)


def test_a_wave_that_is_over_is_not_judged_again(world: LittleFleet) -> None:
    """Where the wave behind it has results, its gate has opened."""
    with pytest.raises(UsageError, match="there is a result of wave 3 already"):
        joined(world, 2, {"a": result(world, 3, "1/1")})


def test_a_wave_that_does_not_exist_is_refused(world: LittleFleet) -> None:
    """The message says how many there are."""
    with pytest.raises(UsageError, match="there is no wave 4: little has 3"):
        in_shard(world.fleet, 4, Shard(1, 2))
