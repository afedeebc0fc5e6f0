"""What `pause`, `resume` and `abort` share: a word to the rollout that is under way."""

from pathlib import Path

from fleetctl.cli.options import Output
from fleetctl.cli.result import show
from fleetctl.project import Project
from fleetctl.steering import UnderWay, Word, running, under_way


def boards_of_rollout(state: Path) -> int:
    """How many boards the rollout is to change that was last begun here, says its journal."""
    from fleetctl.store import Journal
    from fleetctl.tale import newest_journal, tell

    path = newest_journal(state)
    return tell(Journal(path).read()).boards if path else 0


def rollout_of(file: Path) -> UnderWay:
    """The rollout that is under way from the fleet's folder.

    Raises:
        ManifestError: there is no fleet here.
        UsageError: there is no rollout.
    """
    state = Project(file).state
    if under_way(state) is None:
        from fleetctl.manifest.files import demand_manifest

        demand_manifest(file)
    return running(state)


def say(state: Path, word: Word, way: str, name: str = "") -> UnderWay:
    """Say it, and write down that it was said; `way` is how, `command` or `page`.

    Raises:
        UsageError: no rollout is under way, or not the one of that `name`.
    """
    from fleetctl.audit import Audit, Deed
    from fleetctl.steering import steer, whoami

    who = whoami()
    with Audit(state).of(Deed(word.value, who, way, boards_of_rollout(state))):
        return steer(state, word, who, name)


def tell_it(file: Path, word: Word, output: Output, then: str) -> None:
    """One of the three verbs; `then` says what follows."""
    from fleetctl.report.console import talk
    from fleetctl.report.units import plural

    state = Project(file).state
    rollout_of(file)  # before anything is written down: in a wrong folder, nothing is
    found = say(state, word, "command")
    boards = boards_of_rollout(state)
    talk.done(f"{found.purpose}, {plural(boards, 'board')}: {then}")
    show(
        output,
        schema="fleetctl.steering/v1",
        data={
            "asked": word.value,
            "by": found.wish.by,
            "rollout": found.purpose,
            "pid": found.pid,
            "since": found.since,
            "boards": boards,
        },
        columns=["asked", "by", "rollout", "boards"],
        rows=[[word.value, found.wish.by, found.purpose, str(boards)]],
    )
