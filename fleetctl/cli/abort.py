"""`fleetctl abort`: end a rollout that is under way."""

from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption, YesOption


def abort(
    file: FileOption = DEFAULT_MANIFEST, yes: YesOption = False, output: OutputOption = Output.TABLE
) -> None:
    """End a rollout that is under way; boards go back as the manifest says.

    Boards that are at work finish; watching a wave ends at once. Then the rollout ends as if its gate had
    failed: the manifest's `revert` says whether nobody, this wave or every wave goes back. `fleetctl rollout`
    exits 43.
    """
    from fleetctl.cli.agreed import ask
    from fleetctl.cli.steer import boards_of_rollout, rollout_of, tell_it
    from fleetctl.project import Project
    from fleetctl.report.units import plural
    from fleetctl.steering import Word

    found, boards = rollout_of(file), boards_of_rollout(Project(file).state)
    ask(yes, f"Abort the {found.purpose}, {plural(boards, 'board')}?")
    tell_it(file, Word.ABORT, output, "ends after the boards that are at work")
