"""Releases made by several processes: the same as by one, and the same mistakes told."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from contract_worlds import Releases
from msgspec.structs import replace

from fleetctl.artifact import Artifact
from fleetctl.errors import ManifestError
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, Smoke, VariantName
from fleetctl.render import many
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates
from fleetctl.store import BlobStore

COUNT = 620  # three chunks


@pytest.fixture
def wanted(tmp_path: Path) -> list[many.Wanted]:
    """Boards that differ in name, config and labels, of two kinds of artifact."""
    made = Releases(BlobStore(tmp_path))
    artifacts = [made.artifact(), made.artifact(is_good=False)]
    return [many.Wanted(board(n), artifacts[n % 2], Smoke(samples=4)) for n in range(COUNT)]


def board(number: int) -> Board:
    return Board(
        f"b{number}",
        BoardKind.RASPBERRYPI4,
        "toy",
        VariantName.INT8,
        accelerator=list(Accelerator)[number % 3],
        config={"threshold": number / COUNT, "spool": f"/spool/{number}"} if number % 5 else {},
        labels={"site": f"site {number % 7}", "ä": "\u2028"},
    )


def renderer(**templates: str) -> Renderer:
    return Renderer({**packaged_templates(), **templates}, board_runtime())


def outcome(made: Renderer, wanted: list[many.Wanted], processes: int) -> Any:
    try:
        return list(many.releases(made, wanted, processes=processes))
    except ManifestError as error:
        return error.problems


def test_several_processes_make_the_same(wanted: list[many.Wanted]) -> None:
    """Release by release, in the order of the boards, whoever made it; and as the renderer itself does."""
    alone, together = (outcome(renderer(), wanted, processes) for processes in (1, 3))
    by_hand = [renderer().release(*each) for each in wanted[:20]]

    assert alone == together
    assert by_hand == [release for release, _ in together[:20]]
    assert COUNT == len({release.digest for release, _ in together})


@pytest.mark.parametrize("bad", [0, 251, COUNT - 1])
def test_several_processes_tell_the_same_mistake(wanted: list[many.Wanted], bad: int) -> None:
    """Of the first board that a template fails for, with its name, file and line."""
    templates = {
        "serve.json.j2": "{{ config | tojson }}",
        "note.json.j2": '{"rate": {{ config.rate | tojson }}}',
    }
    fleet = [each._replace(board=replace(each.board, config={"rate": 1})) for each in wanted]
    fleet[bad:] = [each._replace(board=replace(each.board, config={})) for each in fleet[bad:]]
    alone, together = (outcome(renderer(**templates), fleet, processes) for processes in (1, 2))

    assert alone == together
    assert f"`rate` is not set (rendering for b{bad})" in str(alone[0])


class Dying(Renderer):
    """Ends the process it is in, unless that is the one it was made in."""

    def __init__(self) -> None:
        super().__init__(packaged_templates(), board_runtime())
        self.home = os.getpid()

    def render(self, board: Board, artifact: Artifact, smoke: Smoke) -> dict[str, bytes]:
        if os.getpid() != self.home and board.name == "b300":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().render(board, artifact, smoke)


def test_a_worker_that_is_killed_is_made_up_for(wanted: list[many.Wanted]) -> None:
    """The kernel may take one when memory is short; the result is whole all the same."""
    assert outcome(renderer(), wanted, 1) == outcome(Dying(), wanted, 2)


def test_few_boards_are_not_worth_a_fork() -> None:
    """Starting workers costs more than small fleets do."""
    assert many._useful(many.WORTH_FORKING - 1) == 1
