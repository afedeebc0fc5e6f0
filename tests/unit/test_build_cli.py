"""The verbs `build` and `render`: what they print where, and how they exit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from published import published
from toy_build import ToyStages, toy_photos

from fleetctl.build.builder import build
from fleetctl.cli import main
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import VariantName
from fleetctl.project import Project
from fleetctl.store import sha256

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    gates: {min_accuracy: 0.9}
    smoke: {samples: 6}
groups:
  pi: {match: {board: raspberrypi*}, config: {threshold: 0.6}}
boards:
  luxor-01: {board: raspberrypi4, model: toy, via: ansible, host: 192.0.2.1, labels: {site: luxor}}
rollout:
  waves: [{percent: 100}]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A fleet on disk whose model was never built."""
    path = tmp_path / "inventory" / "fleet.yaml"
    toy_photos(path.parent)
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def built(manifest: Path) -> Path:
    """The same fleet, its model built and locked."""
    build(load(manifest), Project(manifest), stages=ToyStages(wrong={VariantName.INT8: {"G17": 1}}))
    return manifest


def test_build_shows_what_is_locked(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results on standard output, talk on standard error, exit 0."""
    status = main(["build", "-f", str(built)])

    said = capsys.readouterr()
    assert status == 0
    assert [line.split()[:5] for line in said.out.splitlines()] == [
        ["MODEL", "VARIANT", "TOP-1", "DROP", "WORST"],
        ["toy", "int8", "97.2", "%", "+2.8"],
    ]
    assert said.err == "✓ up to date\n"


def test_what_another_builder_made_stays(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A team that takes another fleetctl builds no model anew, and is told how it could."""
    build(load(manifest), Project(manifest), stages=ToyStages(builder="1"))
    status = main(["build", "-f", str(manifest)])

    said = capsys.readouterr().err.splitlines()
    assert (0, "✓ up to date") == (status, said[0])
    assert "toy is from builder 1 and stays" in said[1]
    assert f"`fleetctl build -f {manifest} --force toy` makes it anew" in said[1]


def test_build_as_json(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock's own words, with what this run did."""
    assert main(["build", "-f", str(built), "--output", "json"]) == 0

    data = published(capsys.readouterr().out)
    assert (data["schema"], data["lock_changed"]) == ("fleetctl.build/v1", False)
    assert data["models"]["toy"]["variants"]["int8"]["metrics"]["top1"] == 0.972222
    assert data["models"]["toy"]["built"] is False


def test_build_as_markdown(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table for a pull request."""
    assert main(["build", "-f", str(built), "--output", "markdown"]) == 0

    assert "| toy | int8 | 97.2 % | +2.8 | G17 +8.3 | 0 KiB | 36 |" in capsys.readouterr().out


def test_check_fails_on_a_stale_lock(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 11 says that the lock and the manifest have parted."""
    status = main(["build", "--check", "-f", str(manifest)])

    assert status == 11
    assert capsys.readouterr().err == (
        "error: fleet.lock is out of date: toy: not built yet\n"
        f"hint: run `fleetctl build -f {manifest} toy` and commit model_artifacts/fleet.lock\n"
    )


def test_a_gate_that_refuses_exits_21(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The number and the limit are on standard error, nothing is on standard output."""
    built.write_text(MANIFEST.replace("0.9}", "0.99}"))

    status = main(["build", "-f", str(built)])

    said = capsys.readouterr()
    assert (status, said.out) == (21, "")
    assert "toy int8: top-1 97.2 % is under min_accuracy 99.0 %" in said.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "--force", "--check"], "--force builds and --check does not"),
        (["build", "tory"], "the manifest has no model 'tory'"),
        (["render", "luxor-1"], "no board `luxor-1` in the fleet"),
    ],
)
def test_what_cannot_be_exits_2(
    built: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    """Usage errors say what is wrong."""
    assert main([*arguments, "-f", str(built)]) == 2

    assert says in capsys.readouterr().err


def test_nothing_to_build_takes_under_a_second(built: Path) -> None:
    """A whole process, start-up included; processor time, so that a busy machine does not count."""
    before = os.times()
    run = subprocess.run(
        [sys.executable, "-m", "fleetctl", "build", "-f", str(built)], capture_output=True, check=True
    )
    after = os.times()

    spent = after.children_user - before.children_user + after.children_system - before.children_system
    assert "up to date" in run.stderr.decode()
    assert spent < 1.0


def test_render_shows_a_board_s_files(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file by digest, and the rendered ones whole."""
    assert main(["render", "luxor-01", "-f", str(built)]) == 0

    out = capsys.readouterr().out
    assert "model/model.tflite" in out
    assert '==> config/serve.json\n{\n  "board": "luxor-01",' in out
    assert '"threshold": 0.6,' in out
    assert "ExecStart=/opt/fleetctl/venv/bin/python" in out


def test_render_writes_the_release_as_a_board_holds_it(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file has the digest that release.json gives it, and release.json has the release's."""
    out = tmp_path / "release"

    assert main(["render", "luxor-01", "-f", str(built), "--out", str(out), "--output", "json"]) == 0

    data = published(capsys.readouterr().out)
    written = {
        str(path.relative_to(out)): sha256(path.read_bytes())
        for path in out.rglob("*")
        if path.is_file() and path.name != "release.json"
    }
    assert written == {path: ref["sha256"] for path, ref in data["files"].items()}
    assert sha256((out / "release.json").read_bytes()) == data["release"]
    assert json.loads(data["rendered"]["config/serve.json"])["labels"] == {"site": "luxor"}


def test_render_does_not_write_over_anything(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with something in it is left alone."""
    (tmp_path / "mine").write_text("precious")

    assert main(["render", "luxor-01", "-f", str(built), "--out", str(tmp_path)]) == 2

    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "mine").read_text() == "precious"


def test_render_names_the_line_of_a_bad_template(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 10, with the place a person can go to."""
    templates = built.parent / "templates"
    templates.mkdir()
    (templates / "camera.conf.j2").write_text("one\n{{ config.treshold }}\n")

    assert main(["render", "luxor-01", "-f", str(built)]) == 10

    assert capsys.readouterr().err.startswith(
        f"{templates}/camera.conf.j2:2: `treshold` is not set; did you mean `threshold`? "
        "(rendering for luxor-01)"
    )


def test_a_build_tells_what_its_numbers_do_not(
    manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fewer golden samples than were asked for are said once, where they are made."""
    manifest.write_text(MANIFEST.replace("samples: 6", "samples: 40"))
    monkeypatch.setattr("fleetctl.build.workshop.ModelStages", ToyStages)
    monkeypatch.setattr("fleetctl.build.stages.ModelStages", ToyStages)

    assert main(["build", "-f", str(manifest)]) == 0
    said = capsys.readouterr()
    assert main(["build", "-f", str(manifest)]) == 0

    warning = "toy: `int8`: boards prove a release by 36 golden samples instead of 40"
    assert warning in said.err and warning not in said.out
    assert "golden samples" not in capsys.readouterr().err
