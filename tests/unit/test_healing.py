"""The command that drift names is one that works, and does no more than put right what differs."""

from msgspec.structs import replace

from fleetctl.drift import BoardDrift, Drift
from fleetctl.healing import Healing, healing
from fleetctl.manifest.schema import DriftKind
from fleetctl.origins import ADOPT, BACK
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.report.drift import heal_notes, heal_text

BLOCKED = Step("", Action.BLOCKED, ("runs a release that git does not know",), None, "d" * 64, fixes=(ADOPT,))


def differs(board: str, *, aside: str | None = None) -> BoardDrift:
    return BoardDrift(board, (Drift(board, DriftKind.CONFIG, "threads", "1", "3", None, ignored=aside),))


def made(found: list[BoardDrift], asked: str = "", **steps: Step | Action) -> Healing:
    """Of a plan that does this with boards (`_` stands for `-`), and nothing with the others."""
    given = {name.replace("_", "-"): step for name, step in steps.items()}

    def step(board: str) -> Step:
        of = given.get(board, Action.NOTHING)
        return replace(of, board=board) if isinstance(of, Step) else Step(board, of, (), None, "d" * 64)

    return healing(
        found, Plan("unas", (WaveSteps(1, "all", 0.0, tuple(step(e.board) for e in found)),)), asked
    )


def many(count: int) -> tuple[list[BoardDrift], dict[str, Action]]:
    names = [f"luxor_{number:02}" for number in range(count)]
    return [differs(name.replace("_", "-")) for name in names], dict.fromkeys(names, Action.UPDATE)


def test_few_boards_are_named() -> None:
    """Who copies the command touches what was told to differ, and no other board."""
    found = [differs("luxor-01"), BoardDrift("luxor-02"), BoardDrift("luxor-03", unknown="offline")]
    heals = made(found, luxor_01=Action.UPDATE, luxor_03=Action.DEFER)

    assert "fleetctl rollout --on luxor-01" == heal_text(heals)
    assert ["`fleetctl rollout --on luxor-01` puts them right, board by board, each proved"] == list(
        heal_notes(heals)
    )


def test_nothing_that_differs_takes_no_command() -> None:
    """Nor does what could not be asked."""
    assert None is heal_text(made([BoardDrift("luxor-01"), BoardDrift("luxor-02", unknown="offline")]))


def test_the_selection_that_was_asked_is_kept() -> None:
    """However many boards differ, those that nobody asked about are not rolled out to."""
    found, steps = many(12)

    assert "fleetctl rollout" == heal_text(made(found, **steps))
    assert "fleetctl rollout --on @luxor" == heal_text(made(found, "@luxor", **steps))
    assert "fleetctl rollout --on luxor-00,luxor-01" == heal_text(
        made(found[:2], "luxor-00,luxor-01", **steps)
    )


def test_what_a_rollout_would_stop_at_is_left_out() -> None:
    """Of many boards, those are left out whose differences are known, and those that refuse."""
    found, steps = many(12)
    refuses = replace(BLOCKED, fixes=("`fleetctl bootstrap --on luxor-09` tells it who it is",))
    aside = [*found[:8], differs("luxor-08", aside="a trial"), *found[9:]]
    heals = made(aside, **{**steps, "luxor_09": refuses, "luxor_10": Action.DEFER})

    assert "fleetctl rollout --on '!luxor-08,!luxor-09'" == heal_text(heals)
    assert "luxor-09: runs a release that git does not know; `fleetctl bootstrap" in [*heal_notes(heals)][1]


def test_many_boards_among_many_others_are_named() -> None:
    """The command is long then, and right."""
    found, steps = many(12)
    known = [differs(each.board, aside="a trial") for each in found[6:]]
    names = ",".join(each.board for each in found[:6])

    assert f"fleetctl rollout --on {names}" == heal_text(made([*found[:6], *known], **steps))


def test_a_stranger_is_overwritten_by_a_command_of_its_own() -> None:
    """A plain rollout refuses it, and with it the others; `--adopt` for them would overwrite in passing."""
    heals = made([differs("luxor-01"), differs("luxor-02")], luxor_01=Action.UPDATE, luxor_02=BLOCKED)

    assert "fleetctl rollout --on luxor-01 && fleetctl rollout --on luxor-02 --adopt" == heal_text(heals)
    assert "`fleetctl rollout --on luxor-02 --adopt` overwrites" in [*heal_notes(heals)][1]


def test_what_no_rollout_mends_is_said_to_a_person() -> None:
    """What is newer is not gone back from in passing; what has proved its release needs the doctor."""
    newer = replace(BLOCKED, reasons=("runs a newer release",), fixes=(BACK,))
    heals = made([differs("luxor-01"), differs("luxor-02")], luxor_02=newer)

    assert None is heal_text(heals)
    assert [
        "luxor-01: no rollout mends this; `fleetctl doctor` says what does",
        "luxor-02: runs a newer release; roll out what is newer, or say --back to go back on purpose",
    ] == list(heal_notes(heals))
