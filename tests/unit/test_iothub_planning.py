"""What is written to a hub, worked out without one: consignments, deployments, quotas, sign-in."""

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from fleetctl.artifact import BlobRef
from fleetctl.device.edge_report import filled, pack, unpack
from fleetctl.errors import BuildError, OverQuota, UsageError
from fleetctl.manifest.schema import Attached, Board, BoardKind, ServiceManager, VariantName, Via
from fleetctl.release import Release
from fleetctl.store import BlobStore, canonical_json, sha256
from fleetctl.transports.base import Order
from fleetctl.transports.iothub_consignment import consignments
from fleetctl.transports.iothub_content import Surroundings, content, create_options
from fleetctl.transports.iothub_deploy import fall_back, follow
from fleetctl.transports.iothub_fleet import Standing
from fleetctl.transports.iothub_quota import Hub, Need, check, estimate
from fleetctl.transports.iothub_signin import CONNECTION_STRING, HOST, sign_in


def board(name: str, kind: BoardKind = BoardKind.GENERIC, **words: Any) -> Board:
    return Board(
        name=name,
        board=kind,
        model="reader",
        variant=VariantName.INT8,
        via=Via.IOTHUB,
        service=ServiceManager.PROCESS,
        **words,
    )


def order(store: BlobStore, name: str, serve: str = "") -> Order:
    texts = {
        "model/model.tflite": "a model",
        "runtime/activate.py": "pass",
        "config/serve.json": serve or json.dumps({"board": name, "port": 8091}, indent=2),
    }
    refs = {path: BlobRef(store.put(text.encode()), len(text.encode())) for path, text in texts.items()}
    return Order(board(name), Release(refs), store.root, "c0ffee", 30.0, 300.0)


def test_boards_that_differ_by_name_share_a_consignment(tmp_path: Path) -> None:
    """Ten thousand boards with one config cost one deployment, and each still gets its very own release."""
    store = BlobStore(tmp_path)
    orders = [order(store, f"luxor-{n:02}") for n in range(20)]
    ((consignment, group),) = consignments(orders).values()

    assert orders == group
    for each in orders:
        texts = {path: filled(text, each.board.name) for path, text in consignment.texts.items()}
        files = {**consignment.files}
        for path, text in texts.items():
            files[path] = {"sha256": sha256(text.encode()), "size": len(text.encode())}
        manifest = canonical_json({"schema": "fleetctl.release/v1", "files": files})
        assert each.release.digest == sha256(manifest)


def test_boards_that_differ_by_more_do_not(tmp_path: Path) -> None:
    """Another setting is another consignment; a text that holds the placeholder itself is left as it is."""
    store = BlobStore(tmp_path)
    odd = json.dumps({"board": "luxor-03", "note": "@BOARD@"}, indent=2)
    orders = [
        order(store, "luxor-01"),
        order(store, "luxor-02", '{"port": 1}'),
        order(store, "luxor-03", odd),
    ]

    assert 3 == len(found := consignments(orders))
    assert odd in [each.texts["config/serve.json"] for each, _ in found.values()]


def test_altered_bytes_are_not_consigned(tmp_path: Path) -> None:
    """A blob whose bytes are no longer what its name says stops everything before it starts."""
    store = BlobStore(tmp_path)
    made = order(store, "luxor-01")
    path = store.path(made.release.files["config/serve.json"].sha256)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    with pytest.raises(BuildError, match="was altered"):
        consignments([made])


@pytest.mark.parametrize(
    ("module", "name"),
    [("$edgeAgent", "edgeagent-deployment-1.1"), ("$edgeHub", "edgehub-deployment-1.2")],
)
def test_a_deployment_is_as_iot_edge_wants_it(
    tmp_path: Path, shared_data: Path, module: str, name: str
) -> None:
    """What is deployed is valid by the schemas that IoT Edge publishes."""
    path = shared_data / "iothub" / f"{name}.schema.json"
    if not path.is_file():
        pytest.skip(f"the schema is not at {path}")
    ((consignment, _),) = consignments([order(BlobStore(tmp_path), "luxor-01")]).values()
    image = "registry.example/reader@sha256:" + "0" * 64
    made = content(consignment, image, [board("luxor-01", attached=Attached.USB)], Surroundings())

    jsonschema.validate({module: made[module]}, json.loads(path.read_text()))


def test_layered_deployments_leave_other_modules_alone(tmp_path: Path) -> None:
    """Where a board has other modules, ours is laid upon what there is."""
    ((consignment, _),) = consignments([order(BlobStore(tmp_path), "luxor-01")]).values()
    made = content(consignment, "image", [board("luxor-01")], Surroundings(is_layered=True))

    assert ["properties.desired.modules.fleetctl"] == list(made["$edgeAgent"])
    assert "$edgeHub" not in made


@pytest.mark.parametrize(
    ("boards", "devices"),
    [
        ([board("a")], []),
        ([board("a", attached=Attached.USB)], ["/dev/bus/usb"]),
        ([board("a", attached=Attached.PCIE)], ["/dev/apex_0"]),
        ([board("a", BoardKind.CORAL_DEV_BOARD)], ["/dev/apex_0"]),
    ],
)
def test_containers_see_the_accelerator_and_nothing_else(boards: list[Board], devices: list[str]) -> None:
    """The device of an Edge TPU is passed through; nothing is ever privileged."""
    host = create_options(boards)["HostConfig"]

    assert devices == [each["PathOnHost"] for each in host.get("Devices", [])]
    assert "Privileged" not in host
    assert ["ALL"] == host["CapDrop"]


def test_what_cannot_fit_is_refused_by_name() -> None:
    """A hundred and one deployments, or a twin over 32 KiB, are refused before anything is written."""
    with pytest.raises(OverQuota, match="needs 3 deployments, and the hub \\(S1\\) has room for 2"):
        check(Need(10, 10, 3), Hub("S1", 1, 98))
    large = {"fleetctl": {"properties.desired": {f"t{n}": {"text": "x" * 4000} for n in range(9)}}}
    with pytest.raises(OverQuota, match="the twin of fleetctl would have"):
        check(Need(1, 1, 1, (large,)), Hub())
    long = {"fleetctl": {"properties.desired": {"text": "x" * 5000}}}
    with pytest.raises(OverQuota, match="text of 5,000 bytes"):
        check(Need(1, 1, 1, (long,)), Hub())


def test_calls_and_minutes_are_reckoned_before() -> None:
    """Reading grows by hundreds of boards, tagging by a hundred a call; more units make it faster."""
    small, large = estimate(Need(5, 5, 1), Hub()), estimate(Need(10_000, 10_000, 1), Hub())

    assert small.calls < 25
    assert (100, 2) == (large.tag_calls, large.deployment_calls)
    assert estimate(Need(10_000, 0, 1), Hub("S1", 4)).minutes == pytest.approx(large.minutes / 4, rel=0.3)


def standing(**words: Any) -> Standing:
    return replace(Standing("luxor-01", is_registered=True, is_edge=True, etag="e"), **words)


def test_tags_remember_what_to_fall_back_on() -> None:
    """A board that proved its release falls back on it; others keep what they fell back on before."""
    brings = {"r1": "c1", "r2": "c2"}
    proved = standing(
        tags={"now": "r1"}, said={"state": "confirmed", "consignment": "c1", "answered": 3, "release": "d1"}
    )
    failed = standing(
        tags={"now": "r2", "before": "r1", "was": "d1"},
        said={"state": "reverted", "consignment": "c2", "answered": 4},
    )
    away = replace(failed, said=proved.said)  # it has not heard of r2 yet

    assert {"now": "r2", "before": "r1", "was": "d1"} == follow("r2", brings)(proved)
    assert {"now": "r3", "before": "r1", "was": "d1"} == follow("r3", brings)(failed)
    assert {"now": "r3", "before": "r1", "was": "d1"} == follow("r3", brings)(away)
    assert {"now": "r3"} == follow("r3", {"r1": "c1"})(failed)  # somebody deleted r2
    assert {"now": "r1"} == fall_back({})(failed)
    assert {"now": "r1"} == fall_back({"luxor-01": "d1"})(failed)
    assert {} == fall_back({"luxor-01": "d0"})(failed)
    assert failed.tags == follow("r2", brings)(failed)


def test_a_board_that_serves_keeps_a_deployment() -> None:
    """One of others may lie below ours, and would take its module away."""
    tags = {"now": "r2", "before": "r1", "was": "d1"}
    serving = {"observation": pack({"ok": True, "current": "a" * 64})}

    assert tags == fall_back({"luxor-01": "d0"})(Standing("luxor-01", tags=tags, said=serving))
    assert {"now": "r2"} == fall_back({})(Standing("luxor-01", tags={"now": "r2"}, said=serving))
    assert {} == fall_back({})(Standing("luxor-01", tags={"now": "r2"}))


def test_reports_fit_into_twins_and_come_back_whole() -> None:
    """Nulls, lists and long texts survive the way through a twin; what is too long is refused whole."""
    reply = {
        "state": "pending",
        "receipt": {"previous": None, "answers": [{"label": "G17", "score": 0.5}] * 16},
    }
    packed = pack(reply, before=["p0", "p1", "p2"])
    assert packed is not None
    assert {"p1": None, "p2": None}.items() <= packed.items()
    assert reply == unpack({key: value for key, value in packed.items() if value is not None})
    noise = random.Random(0).randbytes(100_000).hex()
    assert pack({"noise": noise}) is None


@pytest.mark.parametrize("pieces", [None, {}, {"p0": "?"}, {"p0": 7}, {"p0": "eJwDAAAAAAE="}, [1]])
def test_reports_that_are_none_are_empty(pieces: Any) -> None:
    """What a board says is untrusted: nonsense is nothing said."""
    assert {} == unpack(pieces)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({}, "nothing says which IoT Hub"),
        ({CONNECTION_STRING: "HostName=h;SharedAccessKeyName=o"}, "has no SharedAccessKey"),
        ({CONNECTION_STRING: "SharedAccessKey=c2VjcmV0"}, "has no HostName"),
        (
            {CONNECTION_STRING: "HostName=h;SharedAccessKeyName=o;SharedAccessKey=k", HOST: "h"},
            "are both set",
        ),
        (
            {CONNECTION_STRING: '"HostName=h;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0"'},
            "has no HostName",
        ),
        (
            {CONNECTION_STRING: "HostName=h;HostName=k;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0"},
            "has HostName twice",
        ),
    ],
)
def test_signing_in_comes_from_the_environment(environment: dict[str, str], says: str) -> None:
    """What is missing is named, and a key is never repeated."""
    with pytest.raises(UsageError, match=says) as error:
        sign_in(environment)

    assert "c2VjcmV0" not in f"{error.value.message}{error.value.hint}"


@pytest.mark.parametrize("more", [";", ";Comment=1", ";GatewayHostName=g", "; "])
def test_what_a_connection_string_has_too_much_does_no_harm(more: str) -> None:
    """The SDK refuses a `;` at the end, and parts that it does not know, with a ValueError."""
    text = "HostName=h.example;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0="

    assert text == sign_in({CONNECTION_STRING: text + more}).connection_string


def test_a_key_is_not_shown() -> None:
    """However a sign-in gets into a log, its key does not."""
    text = "HostName=h.example;SharedAccessKeyName=o;SharedAccessKey=c2VjcmV0"

    assert "h.example" == sign_in({CONNECTION_STRING: text}).host
    assert "c2VjcmV0" not in repr(sign_in({CONNECTION_STRING: text}))
    assert "" == sign_in({HOST: "h.example"}).connection_string
