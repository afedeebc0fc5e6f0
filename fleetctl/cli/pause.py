"""`fleetctl pause`: hold a rollout that is under way."""

from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption


def pause(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """Hold a rollout that is under way before its next wave.

    Boards that are at work finish, are watched and judged; then nothing more opens until `fleetctl resume`
    or `fleetctl abort`. Works from the folder in which `fleetctl rollout` runs.
    """
    from fleetctl.cli.steer import tell_it
    from fleetctl.steering import Word

    tell_it(file, Word.PAUSE, output, "holds before its next wave")
