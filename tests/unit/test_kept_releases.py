"""Releases that are not rendered anew: the same to the byte, and only of the very same things."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from test_render import ARTIFACT, BOARD, SMOKE

from fleetctl.artifact import BlobRef
from fleetctl.render import kept
from fleetctl.render.many import Wanted, releases
from fleetctl.render.renderer import Renderer

RECORD = Path(".fleetctl/releases.known")
MANIFEST, TEMPLATES = Path("inventory/fleet.yaml"), Path("inventory/templates")
WANTED: list[Wanted] = [
    Wanted(BOARD, ARTIFACT, SMOKE),
    Wanted(replace(BOARD, name="luxor-02", serve_port=8092), ARTIFACT, SMOKE),
    Wanted(replace(BOARD, name="luxor-03"), replace(ARTIFACT, variant="float32"), SMOKE),
]


@pytest.fixture(autouse=True)
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that git leaves alone, and what was rendered kept in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    TEMPLATES.mkdir(parents=True)
    Path(".gitignore").write_text(".fleetctl/\n")
    kept.keep_releases(MANIFEST, kept.key_of(TEMPLATES, WANTED), rendered(WANTED))


def rendered(wanted: list[Wanted]) -> kept.Made:
    return list(releases(Renderer.of(TEMPLATES), wanted))


def recalled(wanted: list[Wanted]) -> kept.Made | None:
    return kept.recall_releases(MANIFEST, kept.key_of(TEMPLATES, wanted))


def test_what_was_rendered_is_recalled_whole() -> None:
    """Files, digests and the text of each configuration, in order."""
    again = recalled(WANTED)

    assert again == rendered(WANTED)
    assert [each.digest for each, _ in again or ()] == [each.digest for each, _ in rendered(WANTED)]


def own_template() -> list[Wanted]:
    (TEMPLATES / "serve.json.j2").write_text("{}")
    return WANTED


def other_board(**settings: object) -> Callable[[], list[Wanted]]:
    return lambda: [WANTED[0]._replace(board=replace(BOARD, **settings)), *WANTED[1:]]  # type: ignore[arg-type]


CHANGES: dict[str, Callable[[], list[Wanted]]] = {
    "a template": own_template,
    "a port": other_board(serve_port=9),
    "a whole number for a fraction": other_board(config={"threshold": 1}),
    "a label": other_board(labels={"site": "karnak"}),
    "a budget": lambda: [each._replace(smoke=replace(SMOKE, samples=3)) for each in WANTED],
    "a model": lambda: [
        each._replace(artifact=replace(ARTIFACT, files={**ARTIFACT.files, "x": BlobRef("0" * 64, 1)}))
        for each in WANTED
    ],
    "another order": lambda: WANTED[::-1],
    "a board less": lambda: WANTED[:2],
    "the record is gone": lambda: RECORD.unlink() or WANTED,
    "the record is cut": lambda: (RECORD.write_bytes(RECORD.read_bytes()[:-3]) and WANTED) or [],
    "the record is of another fleet": lambda: (shutil.copy(".gitignore", RECORD) and WANTED) or [],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_is_rendered_anew(change: Callable[[], list[Wanted]]) -> None:
    """Of templates, boards, budgets and models; and a record that was damaged."""
    assert recalled(change()) is None


def test_ci_renders_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """There, the folder is what somebody proposes."""
    monkeypatch.setenv("CI", "true")

    assert recalled(WANTED) is None


def test_large_fleets_are_rendered_always() -> None:
    """By every processor that is faster than reading them, and nothing is written."""
    RECORD.unlink()
    kept.keep_releases(MANIFEST, "key", rendered(WANTED[:1]) * (kept.MOST + 1))

    assert not RECORD.exists()
