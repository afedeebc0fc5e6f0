"""What each command line may import. A start is as long as its imports: this list is how it stays short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_build import ToyStages, toy_photos

from fleetctl.build.builder import build
from fleetctl.cli import VERBS
from fleetctl.manifest.loader import load
from fleetctl.project import Project

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy: {task: classification, dataset: {kind: folder, path: photos}, smoke: {samples: 6}}
boards:
  luxor-01: {board: raspberrypi4, model: toy, host: 192.0.2.1}
"""
TYPER = {"typer", "annotated_doc", "shellingham", "msgspec", "typing_extensions"}
YAML = {*TYPER, "yaml"}

# Runs a command line in an interpreter of its own, and says on standard error what that imported.
SCRIPT = """
import sys
before = set(sys.modules)
from fleetctl.cli import main
main(sys.argv[1:])
print("imported:", *(set(sys.modules) - before), file=sys.stderr)
"""
# The same for the page of every verb, each in a child of one interpreter that has Typer already.
PAGES = """
import json, os, sys
import fleetctl.cli.root
before = set(sys.modules)
found = {}
for verb in fleetctl.cli.VERBS:
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        fleetctl.cli.main([verb, "--help"])
        os.write(write, json.dumps(sorted(set(sys.modules) - before)).encode())
        os._exit(0)
    os.close(write)
    found[verb] = json.loads(open(read).read())
    os.waitpid(child, 0)
print(json.dumps(found))
"""


def outside_ci() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS")}


def imported(*words: str) -> set[str]:
    """The modules that a command line brings into a bare interpreter."""
    argv = [sys.executable, "-c", SCRIPT, *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=outside_ci())
    return set(done.stderr.rpartition("imported:")[2].split())


def packages(modules: set[str]) -> set[str]:
    """Those of others, without what a compiled module leaves behind."""
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    return {top for top in tops if not top.startswith(("_cython", "cython_runtime", "fleetctl", "_yaml"))}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fleet to start from."""
    folder = tmp_path_factory.mktemp("fleet")
    before = Path.cwd()
    os.chdir(folder)
    try:
        subprocess.run([sys.executable, "-m", "fleetctl", "init", "."], check=True, env=outside_ci())
    finally:
        os.chdir(before)
    return folder


QUICK = {
    "--help": {"fleetctl", "fleetctl.cli", "fleetctl.cli.quick"},
    "--version": {"fleetctl", "fleetctl.cli", "fleetctl.cli.quick"},
    "validate": {
        *(
            "fleetctl",
            "fleetctl.cli",
            "fleetctl.cli.quick",
            "fleetctl.manifest",
            "fleetctl.manifest.remembered",
        ),
        *("hashlib", "_hashlib", "_blake2"),
        *("json", "json.decoder", "json.encoder", "json.scanner", "_json"),
        # of json; the entry point of a package manager has them already
        *("re", "re._casefix", "re._compiler", "re._constants", "re._parser", "_sre", "copyreg", "enum"),
        *("functools", "_functools", "collections", "_collections", "keyword", "reprlib", "itertools"),
        *("operator", "_operator", "types"),
    },
}


@pytest.mark.parametrize("words", QUICK)
def test_what_is_answered_at_once_imports_next_to_nothing(
    words: str, fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Typer, no YAML, no dataclasses, no pathlib: each would be a third of the whole."""
    monkeypatch.chdir(fleet)
    imported(words)  # once in full: `validate` remembers

    assert set() == imported(words) - QUICK[words]


LIGHT = {
    "validate -o json": YAML,
    "explain luxor-01": YAML,
    "schema": YAML,
    "manual exit-codes": TYPER,
}


@pytest.mark.parametrize("words", LIGHT)
def test_light_verbs_import_light_packages(words: str, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only reads the manifest needs Typer and YAML, and nothing of ours that boards or models need."""
    monkeypatch.chdir(fleet)
    found = imported(*words.split())

    assert set() == packages(found) - LIGHT[words]
    assert set() == {name for name in found if name.startswith(("fleetctl.transports", "fleetctl.models"))}


def test_a_plan_imports_neither_numpy_nor_the_network(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names data without opening them, and renders templates; what that takes is all there is."""
    monkeypatch.chdir(fleet)
    found = imported("plan", "--transport", "fake")

    assert {"fleetctl.desired", "fleetctl.models.dataset_digest"} <= found
    assert set() == packages(found) - {*YAML, "jinja2", "markupsafe"}
    assert set() == {"ssl", "http.client", "asyncio", "multiprocessing"} & found
    # There is no board of a hub, no commit to compare with, no wave that is split and none to roll out.
    others = (
        "fleetctl.rollout",
        "fleetctl.images",
        "fleetctl.proposal.compare",
        "fleetctl.sharding",
        "fleetctl.transports.iothub",
    )
    assert set() == {name for name in found if name.startswith(others)}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A fleet of one board whose model is built, and was never looked at."""
    manifest = tmp_path / "inventory" / "fleet.yaml"
    toy_photos(manifest.parent)
    (tmp_path / ".gitignore").write_text(".fleetctl/\n")
    manifest.write_text(MANIFEST)
    build(load(manifest), Project(manifest), stages=ToyStages())
    return tmp_path


def test_an_unchanged_manifest_is_looked_at_without_what_reads_one(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verbs that change no board import neither YAML nor templates again; one that does always reads."""
    monkeypatch.chdir(built)
    readers = {"yaml", "fleetctl.manifest.loader", "jinja2"}
    dear = {"socket", "zipfile", "importlib.resources"}  # a millisecond or two each, for one line of ours

    assert readers <= imported("plan", "--transport", "fake")
    assert set() == {*readers, *dear} & imported("plan", "--transport", "fake")
    assert set() == readers & imported("status", "--transport", "fake")
    assert readers <= imported("rollout", "--transport", "fake", "--yes")


def test_a_rollout_without_a_webhook_does_not_import_what_speaks_http(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most fleets name none."""
    monkeypatch.chdir(built)

    assert set() == {"fleetctl.webhook", "http.client"} & imported("rollout", "--transport", "fake", "--yes")


def test_no_verb_s_page_imports_another_package() -> None:
    """`fleetctl VERB --help` loads the verb's module, and whatever that needs at once."""
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    found = {verb: packages(set(modules)) - TYPER for verb, modules in json.loads(done.stdout).items()}

    assert {verb: set() for verb in VERBS} == found
