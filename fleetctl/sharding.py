"""A wave split over machines: whose board is whose, what each machine found, and all of it joined again.

Who is whose follows from the name of a board alone, so machines need not talk to each other, and a board that
joins the fleet moves no other. What a machine found is a file; whoever has those of all machines judges the
wave as one. No I/O.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, ValidationError

from fleetctl.checked_json import Malformed, Node, parse
from fleetctl.errors import PlanStale, UsageError
from fleetctl.gate import Decision, decide
from fleetctl.listed import listed
from fleetctl.manifest.schema import Board, Fleet, Gate, Via
from fleetctl.observation import Observed, Reach
from fleetctl.plan import Action, Plan, Step, WaveSteps, plan_from_json, wave_name, waves_of
from fleetctl.smoke import BoardVerdict, Verdict
from fleetctl.store import sha256

SHARD_SCHEMA = "fleetctl.shard/v1"

_SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")


class Shard(Struct, frozen=True):
    """One of `of` shares of every wave, counted from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """`3/8` is the third of eight.

        Raises:
            UsageError: it is something else, or there is no such share.
        """
        match = _SHARD.fullmatch(text)
        if match and int(match[1]) <= int(match[2]):
            return cls(int(match[1]), int(match[2]))
        raise UsageError(f"{text!r} is no shard", hint="the third of eight is 3/8")

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, board: Board) -> bool:
        return shard_of(board, self.of) == self.number


def shard_of(board: Board, of: int) -> int:
    """Which of `of` shards a board belongs to, from 1.

    An IoT Hub does the fan-out by itself: all of its boards are the first shard's, so that they share images
    and deployments.
    """
    return 1 if board.via is Via.IOTHUB else int(sha256(board.name.encode())[:16], 16) % of + 1


def wave_boards(fleet: Fleet, number: int) -> tuple[str, ...]:
    """The boards of one wave, in the order of the manifest.

    Raises:
        UsageError: the fleet has no such wave.
    """
    waves = waves_of(fleet)
    if not 1 <= number <= len(waves):
        raise UsageError(f"there is no wave {number}: {fleet.name} has {len(waves)}")
    return waves[number - 1][1]


def in_shard(fleet: Fleet, number: int, shard: Shard) -> tuple[str, ...]:
    """The boards of one shard of one wave, in the order of the manifest; there may be none.

    Raises:
        UsageError: the fleet has no such wave.
    """
    return tuple(name for name in wave_boards(fleet, number) if shard.holds(fleet.boards[name]))


def boards_before(fleet: Fleet, number: int) -> tuple[str, ...]:
    """The boards of all waves before wave `number`.

    Raises:
        UsageError: the fleet has no such wave.
    """
    wave_boards(fleet, number)
    return tuple(board for _, boards in waves_of(fleet)[: number - 1] for board in boards)


def doubt_before(plan: Plan, observed: Mapping[str, Observed], gate: Gate) -> str:
    """Why no wave behind those of `plan` may open, by what their boards show now; empty where it may.

    Each board runs what git says, and has proved it, or its wave's gate allows that it does not. Nothing is
    taken on trust of a gate that once spoke: whoever looks need not be the machine that it spoke on.
    """
    for wave in plan.waves:
        named = f"wave {wave.number} ({wave.name})"
        shown = {step.board: _shown_by(step, observed[step.board]) for step in wave.steps}
        if untried := [board for board, verdict in shown.items() if verdict is Verdict.UNTOUCHED]:
            return f"{named} has not been rolled out to {listed(untried, 1)}"
        judged = decide(gate, shown.values(), canary=wave.is_canary)
        if judged.decision is not Decision.OPEN:
            return f"{named}: {judged.reason}"
    return ""


def _shown_by(step: Step, seen: Observed) -> Verdict:
    """How a board ended in its wave, by what it runs and by its last receipt; untouched: it was never asked.

    One that proved the release and does not hold it any more counts as one that failed.
    """
    if step.action is Action.NOTHING:
        return Verdict.VERIFIED
    if seen.reach is not Reach.REACHED:
        return Verdict.DEFERRED if seen.reach is Reach.OFFLINE else Verdict.INCONCLUSIVE
    if step.desired not in (seen.receipt.get("release"), seen.receipt.get("left")):  # of one taken back
        return Verdict.UNTOUCHED
    if seen.receipt.get("state") == "revert_failed":
        return Verdict.ROLLBACK_FAILED
    is_unsure = seen.receipt.get("outcome") == "inconclusive"
    return Verdict.INCONCLUSIVE if is_unsure else Verdict.ROLLED_BACK


class ShardResult(Struct, frozen=True):
    """What became of one shard of one wave: a verdict for every board of `wave`. No gate has spoken yet."""

    fleet: str
    commit: str
    shard: Shard
    wave: WaveSteps
    verdicts: Mapping[str, BoardVerdict]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the file that is handed to whoever joins."""
        return {
            "schema": SHARD_SCHEMA,
            "commit": self.commit,
            "shard": str(self.shard),
            "plan": Plan(self.fleet, (self.wave,)).to_json(),
            "verdicts": [
                {
                    "board": verdict.board,
                    "verdict": verdict.verdict.value,
                    "reasons": list(verdict.reasons),
                    "receipt": _plain(verdict.receipt),
                }
                for verdict in self.verdicts.values()
            ],
        }


def _plain(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """A board's receipt, if JSON can hold it: no board may spoil the results of the others."""
    try:
        json.dumps(dict(receipt), allow_nan=False)
    except (ValueError, RecursionError):
        return {}
    return dict(receipt)


def read_result(name: str, data: bytes) -> ShardResult:
    """The result in the file `name`.

    Raises:
        UsageError: it is none.
    """
    try:
        return _result(parse(data))
    except (Malformed, ValidationError, ValueError) as error:
        what = f"{name} is no result of a shard: {error}"
        raise UsageError(
            what, hint="`fleetctl rollout --wave 2 --shard 3/8 --result FILE` writes one"
        ) from error


def _result(node: Node) -> ShardResult:
    node.key("schema").exactly(SHARD_SCHEMA)
    plan = plan_from_json(node.key("plan").mapping())
    verdicts = [_verdict(each) for each in node.key("verdicts").elements()]
    if len(plan.waves) != 1 or [v.board for v in verdicts] != [step.board for step in plan.steps]:
        node.refuse("expected one wave, and a verdict for each of its boards")
    return ShardResult(
        fleet=plan.fleet,
        commit=node.key("commit").text(),
        shard=Shard.parse(node.key("shard").text()),
        wave=plan.waves[0],
        verdicts={verdict.board: verdict for verdict in verdicts},
    )


def _verdict(node: Node) -> BoardVerdict:
    return BoardVerdict(
        node.key("board").text(),
        Verdict(node.key("verdict").text()),
        tuple(reason.text() for reason in node.key("reasons").elements()),
        node.key("receipt").mapping(),
    )


class Joined(Struct, frozen=True):
    """Waves put together again; the last one waits for its gate. `doubt` says why it may not open: what is
    missing. Empty where nothing is.
    """

    plan: Plan
    verdicts: Mapping[str, BoardVerdict]
    doubt: str


def join(
    fleet: Fleet,
    number: int,
    results: Mapping[str, ShardResult],
    *,
    commit: str,
    desired: Mapping[str, str],
) -> Joined:
    """Put wave `number`, and those before it that have results, together again.

    Args:
        results: by the name of the file each is from. Those of earlier waves are for `revert: all`.
        commit: what is rolled out; `desired`: the release of each board, by git.

    Raises:
        UsageError: two results of one shard, or some that do not belong together, or not to this fleet.
        PlanStale: a result is about another commit or another release than git says now.
    """
    for name, result in results.items():
        _demand_current(name, result, fleet, commit)
    waves = sorted({number} | {result.wave.number for result in results.values()})
    if waves[-1] > number:
        raise UsageError(f"there is a result of wave {waves[-1]} already: wave {number} was judged long ago")
    parts = [_wave(fleet, each, results, desired) for each in waves]
    verdicts = {board: verdict for _, found, _ in parts for board, verdict in found.items()}
    doubt = "; ".join(doubt for _, _, doubt in parts if doubt)
    return Joined(Plan(fleet.name, tuple(wave for wave, _, _ in parts)), verdicts, doubt)


def _demand_current(name: str, result: ShardResult, fleet: Fleet, commit: str) -> None:
    if result.fleet != fleet.name:
        raise UsageError(f"{name} is about the fleet {result.fleet}, and this is {fleet.name}")
    if result.commit != commit:
        what = f"{name} is about commit {result.commit[:12]}, and this is {commit[:12]}"
        raise PlanStale(what, hint="join what was rolled out of one commit")


_Part = tuple[WaveSteps, dict[str, BoardVerdict], str]


def _wave(fleet: Fleet, number: int, results: Mapping[str, ShardResult], desired: Mapping[str, str]) -> _Part:
    """A wave in the order of the manifest, the verdicts of its boards, and what is missing of it."""
    boards = wave_boards(fleet, number)
    policy = waves_of(fleet)[number - 1][0]
    ours = {name: result for name, result in results.items() if result.wave.number == number}
    _demand_one_each(number, ours)
    shares = _shares(fleet, boards, ours)
    steps: dict[str, Step] = {}
    verdicts: dict[str, BoardVerdict] = {}
    for name, result in ours.items():
        _demand_whole(name, result, shares[result.shard.number], desired)
        steps.update({step.board: step for step in result.wave.steps})
        verdicts.update(result.verdicts)
    doubt = _missing(number, [result.shard for result in ours.values()])
    for board in boards:
        if board not in steps:
            steps[board] = Step(board, Action.BLOCKED, (doubt,), None, desired[board])
            verdicts[board] = BoardVerdict(board, Verdict.INCONCLUSIVE, (doubt,))
    wave = WaveSteps(number, wave_name(policy), policy.soak, tuple(steps[board] for board in boards))
    return wave, {board: verdicts[board] for board in boards}, doubt


def _shares(
    fleet: Fleet, boards: Sequence[str], results: Mapping[str, ShardResult]
) -> Mapping[int, list[str]]:
    """The boards of each shard, by its number; all results are of one split."""
    shares: dict[int, list[str]] = defaultdict(list)
    of = next((result.shard.of for result in results.values()), 1)
    for board in boards:
        shares[shard_of(fleet.boards[board], of)].append(board)
    return shares


def _demand_one_each(number: int, results: Mapping[str, ShardResult]) -> None:
    if len({result.shard.of for result in results.values()}) > 1:
        raise UsageError(f"results of wave {number} come from different splits: {_listed(results)}")
    for shard, count in Counter(result.shard for result in results.values()).items():
        if count > 1:
            twice = {name: result for name, result in results.items() if result.shard == shard}
            raise UsageError(f"shard {shard} of wave {number} has {count} results: {_listed(twice)}")


def _listed(results: Mapping[str, ShardResult]) -> str:
    return ", ".join(f"{name} ({result.shard})" for name, result in list(results.items())[:5])


def _demand_whole(name: str, result: ShardResult, boards: Sequence[str], desired: Mapping[str, str]) -> None:
    """Raise unless the result is about exactly the boards, and the releases, that it should be about."""
    hint = "join what was rolled out of one commit"
    if [step.board for step in result.wave.steps] != list(boards):
        raise PlanStale(f"{name} is not about the boards of shard {result.shard}", hint=hint)
    for step in result.wave.steps:
        if step.desired != desired[step.board]:
            raise PlanStale(f"{name}: {step.board} was to run another release than git says now", hint=hint)


def _missing(number: int, shards: Sequence[Shard]) -> str:
    if not shards:
        return f"no shard of wave {number} gave a result"
    of = shards[0].of
    absent = sorted(set(range(1, of + 1)) - {shard.number for shard in shards})
    named = listed([f"{each}/{of}" for each in absent])
    return f"no result of shard {named} of wave {number}" if absent else ""
