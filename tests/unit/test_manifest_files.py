"""The files of a manifest: where they may be, how large, and how they include each other."""

import os
from pathlib import Path

import pytest
from another_user import as_another_user, nobody

from fleetctl.errors import ManifestError
from fleetctl.manifest.files import MAX_BYTES
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import FolderDataset

HEAD = "apiVersion: fleetctl/v1\nkind: Fleet\nmetadata: {name: unas}\n"
MODELS = "models: {reader: {task: classification, dataset: {kind: folder, path: photos}}}\n"


def board(name: str, **settings: str) -> str:
    given = "".join(f", {key}: {value}" for key, value in settings.items())
    return f"boards: {{{name}: {{board: generic, model: reader, via: iothub{given}}}}}\n"


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty inventory folder, seen from the folder around it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inventory" / "boards").mkdir(parents=True)
    return Path("inventory")


def said(path: Path) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        load(path)
    return [str(problem) for problem in caught.value.problems]


def test_files_are_read_in_the_order_they_are_included(inventory: Path) -> None:
    """The including file comes first, then its includes as listed, globs by name, each file once."""
    (inventory / "fleet.yaml").write_text(
        HEAD + "include: [models.yaml, 'boards/*.yaml', boards/a.yaml]\n" + board("z")
    )
    (inventory / "models.yaml").write_text(MODELS)
    (inventory / "boards" / "b.yaml").write_text(board("b") + "include: [more/c.yaml]\n")
    (inventory / "boards" / "a.yaml").write_text(board("a"))
    (inventory / "boards" / ".#a.yaml").write_text("an editor's lock")
    (inventory / "boards" / "more").mkdir()
    (inventory / "boards" / "more" / "c.yaml").write_text(board("c"))

    fleet = load(inventory / "fleet.yaml")

    assert list(fleet.boards) == ["z", "a", "b", "c"]
    assert fleet.path == inventory / "fleet.yaml"


def test_paths_are_relative_to_the_file_that_says_them(inventory: Path) -> None:
    """A dataset's folder is found beside the file that names it, from whatever folder fleetctl is run."""
    (inventory / "fleet.yaml").write_text(HEAD + "include: [boards/models.yaml]\n" + board("a"))
    (inventory / "boards" / "models.yaml").write_text(MODELS)

    dataset = load(inventory / "fleet.yaml").models["reader"].dataset

    assert dataset == FolderDataset(Path.cwd() / "inventory" / "boards" / "photos")


def test_the_digest_covers_every_file(inventory: Path) -> None:
    """A byte in an included file changes the fleet's digest."""
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + "include: [b.yaml]\n")
    digests = set()
    for text in (board("a"), board("a") + "# a comment\n"):
        (inventory / "b.yaml").write_text(text)
        digests.add(load(inventory / "fleet.yaml").digest)

    assert len(digests) == 2


def test_a_name_in_two_files_is_told_with_both_places(inventory: Path) -> None:
    """Boards, groups and models have one name across all files."""
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + "include: [b.yaml]\n" + board("a"))
    (inventory / "b.yaml").write_text(board("a"))

    assert said(inventory / "fleet.yaml") == [
        "inventory/b.yaml:1:10: boards.a: is defined twice; first in inventory/fleet.yaml:6"
    ]


def test_includes_in_a_circle_are_refused(inventory: Path) -> None:
    """A file that leads back to itself is a problem, not an endless loop."""
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + board("a") + "include: [b.yaml]\n")
    (inventory / "b.yaml").write_text("include: [boards/c.yaml]\n")
    (inventory / "boards" / "c.yaml").write_text("include: [../b.yaml]\n")

    assert said(inventory / "fleet.yaml") == [
        "inventory/boards/c.yaml:1:11: include[0]: "
        "`inventory/boards/../b.yaml` includes itself through c.yaml"
    ]


def test_a_link_does_not_lead_out_of_the_inventory(inventory: Path) -> None:
    """What counts is where a file really is."""
    Path("secret.yaml").write_text(board("b"))
    (inventory / "b.yaml").symlink_to(Path("../secret.yaml"))
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + board("a") + "include: [b.yaml]\n")

    assert said(inventory / "fleet.yaml") == [
        "inventory/fleet.yaml:6:11: include[0]: `inventory/b.yaml` lies outside the inventory folder; "
        "includes stay beside fleet.yaml"
    ]


def test_links_in_a_circle_are_told(inventory: Path) -> None:
    """A link to itself is a file that cannot be read."""
    (inventory / "fleet.yaml").symlink_to("fleet.yaml")

    assert said(inventory / "fleet.yaml") == [
        "inventory/fleet.yaml: cannot be read: Too many levels of symbolic links"
    ]


def test_one_broken_file_hides_no_other(inventory: Path) -> None:
    """Every file is read, and names that may be in the broken one are not called unknown."""
    (inventory / "fleet.yaml").write_text(HEAD + "include: [models.yaml, b.yaml]\n" + board("a"))
    (inventory / "models.yaml").write_text("models: {reader: [\n")
    (inventory / "b.yaml").write_text(board("b", port="0"))

    assert said(inventory / "fleet.yaml") == [
        "inventory/b.yaml:1:64: boards.b.port: must be a whole number, 1 to 65535, not the number `0`",
        "inventory/models.yaml:2:1: a value is missing; close the brackets before it, or write the value",
    ]


def test_a_folder_for_a_file(inventory: Path) -> None:
    """The folder of a manifest is told from the manifest."""
    assert said(inventory) == ["inventory: is a folder, not a file"]
    (inventory / "fleet.yaml").write_text(HEAD + board("a"))
    assert said(inventory) == ["inventory: is a folder, not a file; did you mean inventory/fleet.yaml?"]
    assert said(Path()) == [".: is a folder, not a file; did you mean inventory/fleet.yaml?"]


def test_a_manifest_above_is_named(inventory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stands in the folder of a fleet, or deeper, wants that fleet, and no second one within it."""
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + board("a"))
    monkeypatch.chdir(inventory / "boards")
    [problem] = said(Path("inventory/fleet.yaml"))

    assert problem.endswith("there is no such file; there is one above: `-f ../fleet.yaml` names it")
    assert Path("../fleet.yaml").is_file()


def test_a_folder_is_not_included(inventory: Path) -> None:
    """It is said where the include stands, with what would do."""
    (inventory / "groups").mkdir()
    (inventory / "fleet.yaml").write_text(HEAD + "include: [groups]\n" + board("a"))

    text = "include[0]: `inventory/groups` is a folder; include its files, such as `groups/*.yaml`"
    assert any(problem.endswith(text) for problem in said(inventory / "fleet.yaml"))


@as_another_user
@pytest.mark.parametrize(
    ("pattern", "folder"),
    [("boards/*.yaml", "boards"), ("**/*.yaml", "boards/deep"), ("*/deep/*.yaml", "boards/deep")],
)
def test_a_folder_that_may_not_be_listed_is_not_taken_for_empty(
    inventory: Path, pattern: str, folder: str
) -> None:
    """Else its boards would leave the fleet unseen, although other files fit the pattern."""
    for name in ("more/deep", "boards/deep", ".cache"):
        (inventory / name).mkdir(parents=True)
        (inventory / name / f"{len(name)}.yaml").write_text("")
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + f'include: ["{pattern}"]\n' + board("a"))
    (inventory / ".cache").chmod(0)
    (inventory / folder).chmod(0)
    with nobody(inventory.absolute().parent):
        problems = said(inventory / "fleet.yaml")

    (inventory / folder).chmod(0o755)
    told = f"include[0]: `inventory/{folder}` cannot be read: Permission denied"
    assert any(problem.endswith(told) for problem in problems), problems


def test_no_file_at_all(inventory: Path) -> None:
    """A missing manifest is met with the way to get one."""
    assert said(inventory / "fleet.yaml") == [
        "inventory/fleet.yaml: there is no such file; `fleetctl init` writes one, -f names another"
    ]


def test_a_pipe_does_not_block(inventory: Path) -> None:
    """A named pipe, from which reading would wait for ever, is refused."""
    os.mkfifo(inventory / "fleet.yaml")

    assert said(inventory / "fleet.yaml") == ["inventory/fleet.yaml: is not a regular file"]


def test_a_file_of_fifty_megabytes_is_not_read(inventory: Path) -> None:
    """Size is looked at before anything is read, and the limit is named."""
    with (inventory / "fleet.yaml").open("wb") as stream:
        stream.truncate(50_000_000)

    assert said(inventory / "fleet.yaml") == [
        "inventory/fleet.yaml: is 50.0 MB; all files of a manifest may be 32 MiB together; "
        "give settings to groups instead of each board"
    ]


def test_the_limit_is_for_all_files_together(inventory: Path) -> None:
    """Many files do not get around the limit."""
    (inventory / "fleet.yaml").write_text(HEAD + MODELS + board("a") + "include: [b.yaml, c.yaml]\n")
    filler = "#" * (MAX_BYTES // 2) + "\nboards: {}\n"
    for name in ("b.yaml", "c.yaml"):
        (inventory / name).write_text(filler)

    assert [line.partition(": is ")[0] for line in said(inventory / "fleet.yaml")] == ["inventory/c.yaml"]
