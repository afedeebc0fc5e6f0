"""Settings from layers, the settings that are worked out, and the line that `explain` names for each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fleetctl.errors import ManifestError, UsageError
from fleetctl.manifest.explain import explain
from fleetctl.manifest.loader import load
from fleetctl.manifest.schema import Board
from fleetctl.manifest.tree import FASTEST_PARSER, Items, Node, Scalar, parse

FLEET = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
defaults:
  user: pi
  model: reader
  config: {threshold: 0.5, camera: {width: 640, height: 480}}
  labels: {owner: lab}
models:
  reader: {task: classification, dataset: {kind: rendered}, variants: [float32, int8, edgetpu]}
  small: {task: classification, dataset: {kind: rendered}, variants: [float16]}
groups:
  luxor:
    match: {site: luxor}
    config: {camera: {width: 800}}
    port: 2201
  canary:
    boards: [luxor-01]
    config: {threshold: 0.7}
    port: 2202
boards:
  luxor-01:
    board: raspberrypi4
    host: 192.0.2.11
    labels: {site: luxor}
    config: {camera: {height: 600}}
  luxor-02: {board: raspberrypi4, host: 192.0.2.12, labels: {site: luxor}}
  giza-01: {board: coral-dev-board, host: 192.0.2.21}
"""


@pytest.fixture
def manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet with three layers that disagree."""
    monkeypatch.chdir(tmp_path)
    path = Path("fleet.yaml")
    path.write_text(FLEET)
    return path


def test_the_last_layer_wins(manifest: Path) -> None:
    """Defaults give way to groups in manifest order, and those to the board; `config` and `labels` add up."""
    boards = load(manifest).boards

    assert boards["luxor-01"].config == {"threshold": 0.7, "camera": {"width": 800, "height": 600}}
    assert boards["luxor-01"].labels == {"owner": "lab", "site": "luxor"}
    assert boards["luxor-01"].port == 2202
    assert boards["luxor-01"].groups == ("luxor", "canary")
    assert boards["luxor-02"].config == {"threshold": 0.5, "camera": {"width": 800, "height": 480}}
    assert boards["luxor-02"].port == 2201
    assert (boards["giza-01"].port, boards["giza-01"].user) == (22, "pi")


def test_explain_names_value_layer_and_line(manifest: Path) -> None:
    """Each value is told with the line of the layer that had the last word, defaults with none."""
    told = {
        setting.key: (setting.value, setting.layer, setting.place)
        for setting in explain(manifest, "luxor-01")
    }

    assert told["config.threshold"] == (0.7, "group canary", "fleet.yaml:19")
    assert told["config.camera.width"] == (800, "group luxor", "fleet.yaml:15")
    assert told["config.camera.height"] == (600, "board luxor-01", "fleet.yaml:26")
    assert told["labels.owner"] == ("lab", "defaults", "fleet.yaml:8")
    assert told["user"] == ("pi", "defaults", "fleet.yaml:5")
    assert told["serve_port"] == (8091, "default", "default")
    assert told["variant"] == ("int8", "default", "default")


def test_explain_of_a_key_tells_what_is_below_it(manifest: Path) -> None:
    """A key stands for itself and for everything below it."""
    assert [setting.key for setting in explain(manifest, "luxor-02", "config.camera")] == [
        "config.camera.width",
        "config.camera.height",
    ]


@pytest.mark.parametrize(
    ("board", "key", "message", "hint"),
    [
        ("luxor-1", None, "no board `luxor-1` in the fleet", "did you mean `luxor-01`?"),
        (
            "luxor-01",
            "config.treshold",
            "board `luxor-01` has no setting `config.treshold`",
            "did you mean `config.threshold`?",
        ),
        ("luxor-01", "x", "board `luxor-01` has no setting `x`", "without a key, all are shown"),
    ],
)
def test_explain_of_nothing(manifest: Path, board: str, key: str | None, message: str, hint: str) -> None:
    """An unknown board or setting is met with the nearest known one."""
    with pytest.raises(UsageError) as caught:
        explain(manifest, board, key)

    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("settings", "variant", "accelerator"),
    [
        ("board: raspberrypi4", "int8", "none"),
        ("board: raspberrypi4, accelerator: preferred", "int8", "preferred"),
        ("board: raspberrypi4, attached: usb", "edgetpu", "preferred"),
        ("board: raspberrypi4, attached: usb, accelerator: none", "int8", "none"),
        ("board: raspberrypi4, attached: usb, accelerator: required", "edgetpu", "required"),
        ("board: coral-dev-board", "edgetpu", "preferred"),
        ("board: coral-dev-board, accelerator: required", "edgetpu", "required"),
        ("board: coral-dev-board, accelerator: none", "int8", "none"),
        ("board: coral-dev-board, variant: float32", "float32", "preferred"),
        ("board: coral-dev-board, model: small", "float16", "preferred"),
        ("board: generic, model: small", "float16", "none"),
    ],
)
def test_variant_and_accelerator_are_worked_out(
    manifest: Path, settings: str, variant: str, accelerator: str
) -> None:
    """Where there is an Edge TPU it is preferred: `edgetpu` is run, else `int8`, else the first."""
    manifest.write_text(f"{FLEET}  extra: {{host: 192.0.2.99, {settings}}}\n")

    board = load(manifest).boards["extra"]

    assert (board.variant, board.accelerator) == (variant, accelerator)


def test_match_does_not_see_what_groups_set(manifest: Path) -> None:
    """A group cannot decide its own membership, nor that of another."""
    manifest.write_text(
        FLEET.replace("    port: 2201\n", "    labels: {rack: r1}\n").replace(
            "boards: [luxor-01]", "match: {rack: r1}"
        )
    )

    with pytest.raises(ManifestError) as caught:
        load(manifest)

    assert [str(problem) for problem in caught.value.problems] == [
        "fleet.yaml:18:13: groups.canary.match.rack: unknown label `rack`; no board has it"
    ]


def test_anchors_and_merge_keys_work(manifest: Path) -> None:
    """A mapping may borrow another's keys, and its own win; `explain` names the line borrowed from."""
    manifest.write_text(
        f"{FLEET}  a: &a {{board: generic, host: 192.0.2.31, port: 2222, config: {{x: 1}}}}\n"
        "  b:\n    <<: *a\n    host: 192.0.2.32\n"
    )

    board = load(manifest).boards["b"]

    assert (board.host, board.port, board.config["x"]) == ("192.0.2.32", 2222, 1)
    assert [setting.place for setting in explain(manifest, "b", "port")] == ["fleet.yaml:29"]


def test_plain_words_are_what_they_look_like(manifest: Path) -> None:
    """`22:22` is text, though YAML 1.1 counts it in sixties; numbers, booleans and null are values."""
    words = {"time": "22:22", "date": "2024-01-01", "version": "1.2.3", "quoted": "010"}
    values = {"a": 1, "b": 1.5, "c": True, "d": None, "f": -3}
    config = (
        "time: 22:22, date: 2024-01-01, version: 1.2.3, quoted: '010', a: 1, b: 1.5, c: true, d: null, f: -3"
    )
    manifest.write_text(f"{FLEET}  extra: {{board: generic, host: 192.0.2.99, config: {{{config}}}}}\n")

    found = dict(load(manifest).boards["extra"].config)

    del found["threshold"], found["camera"]
    assert found == {**words, **values}


def test_python_yaml_reads_the_same() -> None:
    """Where PyYAML was built without libyaml, its own parser gives the same values at the same places."""
    pure, fast = (parse(FLEET.encode(), "fleet.yaml", parser) for parser in (yaml.SafeLoader, FASTEST_PARSER))

    assert list(flattened(pure)) == list(flattened(fast))


def flattened(node: Node) -> Iterator[tuple[str, int, int]]:
    """Every scalar of a tree with its line and column, keys before values."""
    if isinstance(node, Scalar):
        yield node.text, node.mark.line, node.mark.column
    elif isinstance(node, Items):
        for item in node.items:
            yield from flattened(item)
    else:
        for key, value in node.pairs:
            yield from flattened(key)
            yield from flattened(value)


def test_boards_have_the_defaults_of_the_type(manifest: Path) -> None:
    """What nobody sets is what `Board` says."""
    board = load(manifest).boards["giza-01"]

    plain = Board(name="giza-01", board=board.board, model="reader", variant=board.variant)
    assert (board.root, board.python, board.service, board.become) == (
        plain.root,
        plain.python,
        plain.service,
        plain.become,
    )
