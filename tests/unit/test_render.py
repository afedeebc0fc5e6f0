"""From boards to releases: which files a board gets, and what they say."""

import configparser
import json
import shlex
from pathlib import Path

import pytest
from another_user import as_another_user, nobody
from msgspec.structs import replace

from fleetctl.artifact import CONTRACT_FILE, GOLDEN_FILE, MODEL_FILE, Artifact, BlobRef
from fleetctl.errors import BuildError, ManifestError
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, ServiceManager, Smoke, VariantName
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import board_runtime, packaged_templates, read_templates
from fleetctl.store import BlobStore, sha256

BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, labels={"site": "luxor"})
SMOKE = Smoke(max_p95_ms={BoardKind.RASPBERRYPI4: 60.0})
RUNTIME = {"runtime/serve.py": b"serve"}
FILES = {MODEL_FILE: b"model", CONTRACT_FILE: b"contract", GOLDEN_FILE: b"golden"}
ARTIFACT = Artifact(
    "reader", "int8", {name: BlobRef(sha256(data), len(data)) for name, data in FILES.items()}
)


def renderer(**templates: str) -> Renderer:
    """The packaged templates, with some replaced; keys are names without `.j2`, `__` for a dot."""
    changed = {name.replace("__", ".") + ".j2": text for name, text in templates.items()}
    return Renderer({**packaged_templates(), **changed}, RUNTIME)


def unit_of(board: Board) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(renderer().render(board, ARTIFACT, SMOKE)["unit/fleetctl-serve.service"].decode())
    return parser


def test_a_release_holds_what_the_board_protocol_lists() -> None:
    """Model, runtime, configuration and unit, each under its path."""
    release = Renderer(packaged_templates(), board_runtime()).release(BOARD, ARTIFACT, SMOKE)

    assert {"model/model.tflite", "model/contract.json", "model/golden.npy"} < set(release.files)
    assert {"config/serve.json", "config/service.json", "config/smoke.json"} < set(release.files)
    assert {"runtime/activate.py", "runtime/serve.py", "unit/fleetctl-serve.service"} < set(release.files)
    assert "runtime/__init__.py" not in release.files
    assert release.files["model/model.tflite"] == BlobRef(sha256(b"model"), 5)


def test_the_serving_configuration_of_a_plain_board() -> None:
    """Loopback, the board's port and accelerator, and defaults for what the manifest does not say."""
    rendered = renderer().render(BOARD, ARTIFACT, SMOKE)

    assert json.loads(rendered["config/serve.json"]) == {
        "board": "luxor-01",
        "host": "127.0.0.1",
        "port": 8091,
        "accelerator": "none",
        "threads": 1,
        "threshold": 0.5,
        "spool": None,
        "labels": {"site": "luxor"},
    }


def test_the_manifest_s_config_reaches_the_serving_configuration() -> None:
    """Threshold, threads and spool folder are the manifest's to set."""
    board = replace(BOARD, config={"threshold": 0.7, "threads": 4, "spool": "/var/spool/signs"})

    serve = json.loads(renderer().render(board, ARTIFACT, SMOKE)["config/serve.json"])

    assert (serve["threshold"], serve["threads"], serve["spool"]) == (0.7, 4, "/var/spool/signs")


def test_the_service_and_smoke_files_come_from_the_manifest() -> None:
    """The budget is that of the board's kind."""
    board = replace(
        BOARD, service=ServiceManager.PROCESS, accelerator=Accelerator.REQUIRED, python="/venv/python"
    )

    rendered = renderer().render(board, ARTIFACT, SMOKE)

    assert json.loads(rendered["config/service.json"]) == {
        "manager": "process",
        "unit": "fleetctl-serve.service",
        "python": "/venv/python",
    }
    assert json.loads(rendered["config/smoke.json"]) == {
        "samples": 16,
        "min_agreement": 0.98,
        "max_p95_ms": 60.0,
        "accelerator": "required",
    }


def test_a_release_does_not_depend_on_what_was_rendered_before() -> None:
    """60 and 60.0 are equal to Python and are two texts in JSON: neither stands in for the other."""
    budgets = [Smoke(max_p95_ms={BoardKind.RASPBERRYPI4: limit}) for limit in (60, 60.0)]

    texts = [renderer().render(BOARD, ARTIFACT, budget)["config/smoke.json"] for budget in budgets]

    assert [b'"max_p95_ms":60,' in text for text in texts] == [True, False]


def test_a_kind_without_budget_has_none() -> None:
    """No limit is invented for a kind of board that the manifest does not name."""
    board = replace(BOARD, board=BoardKind.GENERIC)

    smoke = json.loads(renderer().render(board, ARTIFACT, SMOKE)["config/smoke.json"])

    assert smoke["max_p95_ms"] is None


def test_the_unit_starts_the_current_release() -> None:
    """The path goes through `current`, so that a unit serves whichever release is active."""
    board = replace(BOARD, root="/srv/my fleet", python="/srv/my fleet/venv/bin/python")

    command = shlex.split(unit_of(board)["Service"]["ExecStart"])

    assert command == [
        "/srv/my fleet/venv/bin/python",
        "/srv/my fleet/current/runtime/serve.py",
        "--release",
        "/srv/my fleet/current",
    ]


def test_the_unit_gives_the_server_nothing_it_does_not_need() -> None:
    """No devices, no capabilities, no network but loopback, nothing writable."""
    service = unit_of(BOARD)["Service"]

    assert service["PrivateDevices"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert service["ProtectSystem"] == "strict"
    assert (service["IPAddressDeny"], service["IPAddressAllow"]) == ("any", "localhost")
    assert "ReadWritePaths" not in service


def test_the_unit_lets_an_accelerator_and_a_spool_folder_in() -> None:
    """An Edge TPU is a device that libusb finds through netlink; answers are written beside the photos."""
    service = unit_of(
        replace(BOARD, accelerator=Accelerator.PREFERRED, config={"spool": "/var/spool/signs"})
    )["Service"]

    assert "PrivateDevices" not in service
    assert "AF_NETLINK" in service["RestrictAddressFamilies"]
    assert service["ReadWritePaths"] == "-/var/spool/signs"


def test_other_templates_become_configuration() -> None:
    """Any `*.j2` of the folder is rendered to `config/`."""
    rendered = renderer(camera__toml="site = {{ labels.site | tojson }}\n").render(BOARD, ARTIFACT, SMOKE)

    assert rendered["config/camera.toml"] == b'site = "luxor"\n'


@pytest.mark.parametrize("name", ["service__json", "smoke__json"])
def test_generated_files_have_no_template(name: str) -> None:
    """A template cannot change what the board is judged by."""
    with pytest.raises(ManifestError) as refused:
        renderer(**{name: "{}"})

    assert f"inventory/templates/{name.replace('__', '.')}.j2: config/" in str(refused.value.problems[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON: expecting property name enclosed in double quotes, line 1 of the result, at `{`"),
        (
            '{"a": 1,\n\n}',
            "not JSON: expecting property name enclosed in double quotes, line 3 of the result, at `}`",
        ),
        ('{"a":\n\n', 'not JSON: expecting value, line 3 of the result, at `{"a":`'),
        ("[]", "expected an object, got an array"),
        ('{"port": 1, "port": 2}', "the key 'port' is there twice"),
        ('{"threshold": NaN}', "not JSON: NaN is not a number"),
    ],
)
def test_json_that_is_none_is_refused(text: str, says: str) -> None:
    """A board never gets a configuration it cannot read; what stands at the fault is shown."""
    with pytest.raises(ManifestError) as refused:
        renderer(serve__json=text).render(BOARD, ARTIFACT, SMOKE)

    problem = str(refused.value.problems[0])
    assert problem.startswith(f"inventory/templates/serve.json.j2: {says} (rendering for luxor-01)")


def test_half_a_character_is_refused() -> None:
    """A lone surrogate, which YAML escapes can write, has no UTF-8."""
    board = replace(BOARD, labels={"site": "\ud800"})

    with pytest.raises(ManifestError) as refused:
        renderer().render(board, ARTIFACT, SMOKE)

    assert "half a character" in str(refused.value.problems[0])


def test_a_failing_template_names_its_line_and_the_board() -> None:
    """One of a thousand boards lacks a value: the message says which."""
    with pytest.raises(ManifestError) as refused:
        renderer(extra__conf="a\nb {{ config.camera }}\n").render(BOARD, ARTIFACT, SMOKE)

    assert str(refused.value.problems[0]) == (
        "inventory/templates/extra.conf.j2:2: `camera` is not set (rendering for luxor-01); "
        "set it in the manifest, or give it a `| default(...)`"
    )


def test_problems_of_all_templates_come_together() -> None:
    """Each with its file."""
    with pytest.raises(ManifestError) as refused:
        renderer(a__conf="{{ x }}", b__conf="{% include 'y' %}")

    assert [problem.file for problem in refused.value.problems] == [
        "inventory/templates/a.conf.j2",
        "inventory/templates/b.conf.j2",
    ]


def test_a_fleet_without_templates_has_the_packaged_ones(tmp_path: Path) -> None:
    """A fleet that never looked at templates works."""
    assert read_templates(tmp_path / "none") == packaged_templates()
    assert {"serve.json.j2", "fleetctl-serve.service.j2"} <= set(packaged_templates())


def test_a_fleet_s_own_template_replaces_the_packaged_one(tmp_path: Path) -> None:
    """File by file: the others stay."""
    (tmp_path / "serve.json.j2").write_text("{}")
    (tmp_path / ".serve.json.j2.swp").write_bytes(b"\xff")
    (tmp_path / ".#serve.json.j2").symlink_to("ankh@desk.4711")  # Emacs has it open
    (tmp_path / "README.md").write_text("not a template")

    templates = read_templates(tmp_path)

    assert templates == {**packaged_templates(), "serve.json.j2": "{}"}


def test_template_files_that_are_none_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, folders, odd names and bytes that are not UTF-8, all told at once, where they lie."""
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "a.j2").symlink_to("/etc/hostname")
    (tmp_path / "b.j2").mkdir()
    (tmp_path / "c d.j2").write_text("")
    (tmp_path / "e.j2").write_bytes(b"one\ntwo \xff")

    with pytest.raises(ManifestError) as refused:
        read_templates(tmp_path)

    assert [str(problem) for problem in refused.value.problems] == [
        f"{tmp_path.name}/a.j2: is a link, and no template leads to other files: "
        "put what it leads to in its place",
        f"{tmp_path.name}/b.j2: is not a file",
        f"{tmp_path.name}/c d.j2: its name may have letters, digits, dots, dashes and underscores only",
        f"{tmp_path.name}/e.j2:2: not UTF-8",
    ]


@as_another_user
def test_templates_that_may_not_be_listed_are_not_replaced_by_the_packaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever may not look into the folder would roll out something that nobody wrote."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "templates").mkdir(mode=0)
    with nobody(tmp_path), pytest.raises(ManifestError) as refused:
        read_templates(tmp_path / "templates")

    (tmp_path / "templates").chmod(0o755)
    assert ["templates: cannot be read: Permission denied"] == [str(each) for each in refused.value.problems]


def stocked(folder: Path) -> BlobStore:
    store = BlobStore(folder)
    for data in FILES.values():
        store.put(data)
    return store


def test_a_kept_release_has_all_its_bytes_in_the_store(tmp_path: Path) -> None:
    """What is about to be sent can be read, and is what the release says."""
    store = stocked(tmp_path)

    release = renderer().keep(BOARD, ARTIFACT, SMOKE, store)

    assert release == renderer().release(BOARD, ARTIFACT, SMOKE)
    for ref in release.files.values():
        assert len(store.get(ref.sha256)) == ref.size


def test_nothing_is_kept_for_an_altered_artifact(tmp_path: Path) -> None:
    """Tampering is found before a release can be sent, and the file is named."""
    store = stocked(tmp_path)
    blob = store.path(sha256(b"golden"))
    blob.chmod(0o644)
    blob.write_bytes(b"Golden")

    with pytest.raises(BuildError, match=r"reader/int8/golden\.npy: blob .* was altered"):
        renderer().keep(BOARD, ARTIFACT, SMOKE, store)
