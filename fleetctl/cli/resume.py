"""`fleetctl resume`: let a paused rollout go on."""

from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption


def resume(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """Let a rollout that was paused go on.

    One that its own gate paused has ended: `fleetctl rollout` goes on from there.
    """
    from fleetctl.cli.steer import tell_it
    from fleetctl.steering import Word

    tell_it(file, Word.RESUME, output, "goes on")
