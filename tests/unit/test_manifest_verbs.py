"""The verbs of the manifest, run as a user runs them: what is printed, and the exit status."""

import json
from pathlib import Path

import pytest

from fleetctl.cli import main
from fleetctl.manifest.json_schema import json_schema_text

CASES = Path(__file__).parents[1] / "cases" / "manifest"
VALID = str(CASES / "base.yaml")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A manifest with two problems."""
    monkeypatch.chdir(tmp_path)
    text = (
        (CASES / "base.yaml").read_text().replace("user: pi", "usr: pi").replace("percent: 50", "percent: 0")
    )
    Path("fleet.yaml").write_text(text)
    return "fleet.yaml"


def test_validate_counts(capsys: pytest.CaptureFixture[str]) -> None:
    """A valid manifest is summed up in a line."""
    assert main(["validate", "-f", VALID]) == 0
    assert capsys.readouterr().out == "3 boards, 1 model, 3 waves: valid\n"


def test_validate_shows_every_problem(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each problem has a line of its own on standard error, and the exit status is 10."""
    assert main(["validate", "-f", broken]) == 10

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "fleet.yaml:4:12: defaults.usr: unknown key `usr`; did you mean `user`?",
        "fleet.yaml:22:49: rollout.waves[1].percent: must be a number above 0 up to 100, not the number `0`",
        "error: 2 problems in the manifest",
    ]


def test_validate_in_json(broken: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Machines get the problems as data, with the same exit status."""
    assert main(["validate", "-f", VALID, "-o", "json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert main(["validate", "-f", broken, "-o", "json"]) == 10
    bad = json.loads(capsys.readouterr().out)

    assert (good["schema"], good["valid"], good["boards"], good["groups"]) == (
        "fleetctl.validate/v1",
        True,
        3,
        2,
    )
    assert bad["valid"] is False
    assert bad["problems"][0] == {
        "file": "fleet.yaml",
        "line": 4,
        "column": 12,
        "path": "defaults.usr",
        "what": "unknown key `usr`",
        "hint": "did you mean `user`?",
    }


def test_explain_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One setting, its value, who set it and where."""
    monkeypatch.chdir(CASES)

    assert main(["explain", "luxor-01", "config.threshold", "-f", "base.yaml"]) == 0
    assert capsys.readouterr().out == (
        "SETTING           VALUE  SET BY    AT\nconfig.threshold  0.5    group pi  base.yaml:16\n"
    )


def test_explain_in_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Defaults have neither file nor line."""
    monkeypatch.chdir(CASES)

    assert main(["explain", "luxor-01", "-f", "base.yaml", "-o", "json"]) == 0

    settings = {setting["key"]: setting for setting in json.loads(capsys.readouterr().out)["settings"]}
    assert settings["user"] == {
        "key": "user", "value": "pi", "layer": "defaults", "file": "base.yaml", "line": 4
    }  # fmt: skip
    assert settings["port"] == {"key": "port", "value": 22, "layer": "default", "file": "", "line": 0}


def test_explain_an_unknown_board(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is not in the fleet is a wrong use of the command."""
    assert main(["explain", "luxor-1", "-f", VALID]) == 2
    assert "did you mean `luxor-01`?" in capsys.readouterr().err


def test_schema_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Its output is the file that is kept in git."""
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == json_schema_text()


def test_init_writes_a_fleet_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `init` writes is valid as it is, and its files are listed on standard output."""
    monkeypatch.chdir(tmp_path)

    assert main(["init"]) == 0
    written = capsys.readouterr().out.split()
    assert main(["validate"]) == 0

    assert capsys.readouterr().out == "3 boards, 1 model, 3 waves: valid\n"
    assert written == [str(path) for path in map(Path, written) if path.is_file()]
    assert {"inventory/fleet.yaml", "inventory/schema.json", ".gitignore"} < set(written)
    assert any(name.startswith("inventory/templates/") for name in written)
    assert Path(".gitignore").read_text() == "model_artifacts/store/\n.fleetctl/\n"


def test_init_touches_nothing_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second `init`, or one in a repository, keeps every byte and says what is left to do by hand."""
    mine = {".gitignore": "*.pyc\n", "inventory/fleet.yaml": "mine\n"}
    for name, text in mine.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert main(["init", str(tmp_path)]) == 0

    assert {name: (tmp_path / name).read_text() for name in mine} == mine
    captured = capsys.readouterr()
    assert "fleet.yaml is there already: left as it is" in captured.err
    assert "add the line `.fleetctl/`" in captured.err
    assert str(tmp_path / "inventory" / "fleet.yaml") not in captured.out.split()


def test_init_where_nothing_can_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of a folder is told, not overwritten."""
    (tmp_path / "inventory").write_text("a file")

    assert main(["init", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err
