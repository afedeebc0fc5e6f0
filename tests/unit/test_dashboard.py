"""The dashboard's addresses: what each shows, and what keeps everybody else out."""

import base64
import contextlib
import http.client
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from another_user import as_another_user, nobody
from dashboards import Served, dashboard, serving
from many_boards import fleet_of, statuses
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from quadrant_fleet import QuadrantFleet
from test_report_html import parsed

from fleetctl.artifact import Contract, GoldenAnswer, Tensor
from fleetctl.cli.dashboard import source_of
from fleetctl.cli.options import TransportKind
from fleetctl.cli.session import open_session
from fleetctl.dashboard.golden import agreement, compare
from fleetctl.dashboard.png import grey_png
from fleetctl.dashboard.snapshot import Snapshot, Source, Watch
from fleetctl.project import Project
from fleetctl.status import BoardStatus
from fleetctl.transports.fake import FakeTransport

CARD = """# A <b>reader</b>

| plot | <script>alert(1)</script> |
|---|---|
| ![confusion](confusion.png) | ![x](../../secret.png) |
"""
PNG = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """Three simulated boards that run what git says, one of them away since, and a card."""
    made = QuadrantFleet.rolled_out(tmp_path_factory.mktemp("fleet"))
    folder = made.root / "model_artifacts" / "quadrants"
    folder.mkdir(exist_ok=True)
    (folder / "card.md").write_text(CARD)
    (folder / "confusion.png").write_bytes(PNG)
    (made.root / "secret.png").write_bytes(b"secret")
    yield made


@pytest.fixture(scope="module")
def site(fleet: QuadrantFleet) -> Iterator[Served]:
    (fleet.root / "faults.yaml").write_text("luxor-02: {unreachable: true}\n")
    manifest = fleet.root / "inventory" / "fleet.yaml"

    def source() -> Source:
        return source_of(open_session(manifest, "", TransportKind.FAKE, fleet.root / "faults.yaml"))

    watch = Watch(source, every=3600)
    watch.ask()
    watch.read_journal()
    with serving(watch) as served:
        yield served


@pytest.mark.parametrize(
    ("address", "shows"),
    [
        ("/", ["2 of 3 boards healthy, 1 offline", 'href="/boards/karnak-01"', "simulated: no connection"]),
        ("/?standing=offline", ["luxor-02", "1 board</span>"]),
        ("/?q=nobody", ["No board is like that."]),
        ("/?page=-1&wave=x&site=%00", ["No board is like that."]),
        ("/rollout", ["Wave 1: canary", "done", "at most 0 boards may fail. 1 board verified"]),
        ("/plan", ["1 board offline, deferred"]),
        ("/plan?commit=HEAD", ["1 board offline, deferred"]),
        ("/plan?commit=--output=x", ["names no commit"]),
        ("/models", ["quadrants", "/models/quadrants"]),
        ("/boards/luxor-01", ["Golden samples", "north-west", "passed", "confirmed"]),
        ("/boards/luxor-02", ["It could not be asked: simulated: no connection."]),
    ],
)
def test_pages(site: Served, address: str, shows: list[str]) -> None:
    """Each page is well-formed, leads nowhere else, and shows what it is for."""
    answer = site.get(address)

    assert 200 == answer.status
    assert [] == [text for text in shows if text not in answer.text]
    assert all(where.startswith(("/", "#")) for where in parsed(answer.text).addresses)


@pytest.mark.parametrize(
    "address",
    [
        "/nothing",
        "/boards/nobody",
        "/boards/..%2f..%2fsecret",
        "/models/nobody",
        "/models/..%2f..",
        "/models/quadrants/files/..%2f..%2fsecret.png",
        "/models/quadrants/files/card.md",
        "/boards/luxor-01/golden/99.png",
        "/static/..%2fpages.py",
    ],
)
def test_what_is_not_there(site: Served, address: str) -> None:
    """Names that lead nowhere, or out of the folder, are answered with a page that says so."""
    answer = site.get(address)

    assert 404 == answer.status
    assert "secret" not in answer.text.replace("%2fsecret", "")


def test_a_card_is_shown_and_not_obeyed(site: Served) -> None:
    """Tables and plots show; HTML is text; pictures are looked for in the card's own folder alone."""
    card = site.get("/models/quadrants").text

    assert "&lt;script&gt;" in card
    assert "<script>" not in card
    assert '<img src="/models/quadrants/files/confusion.png"' in card
    assert PNG == site.get("/models/quadrants/files/confusion.png").body
    assert 404 == site.get("/models/quadrants/files/secret.png").status


def test_the_walls(site: Served) -> None:
    """Another name, another method and another site are kept out; every answer carries the policy."""
    assert 400 == site.get("/", host="fleet.example").status
    assert 200 == site.get("/", host=f"localhost:{site.port}").status
    assert [405, 405] == [site.get("/", method=method).status for method in ("POST", "DELETE")]
    for address in ("/", "/nothing", "/static/live.js", "/metrics"):
        headers = site.get(address).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert ("nosniff", "no-store") == (headers["x-content-type-options"], headers["cache-control"])
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("site_of", "dest", "status"),
    [
        ("cross-site", "image", 403),
        ("cross-site", "iframe", 403),
        ("same-site", "empty", 403),  # another port of this machine
        ("cross-site", "document", 200),
        ("same-origin", "empty", 200),
        ("none", "document", 200),
    ],
)
def test_another_site_has_nothing_done(site: Served, site_of: str, dest: str, status: int) -> None:
    """A picture on its page makes no plan here and asks no board; a link that somebody follows leads here."""
    answer = site.get("/plan?commit=HEAD", sec_fetch_site=site_of, sec_fetch_dest=dest)

    assert status == answer.status
    assert "nosniff" == answer.headers["x-content-type-options"]


def test_machines_may_look_too(site: Served) -> None:
    """Prometheus scrapes the same metrics that `status` writes; the stream begins with what there is."""
    families = text_string_to_metric_families(site.get("/metrics").text)

    assert "fleetctl_board_healthy" in {family.name for family in families}
    assert site.first_event().startswith('event: versions\ndata: {"fleet": 1, "rollout": 1}\n')


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_without_a_word_while_somebody_looks(fleet: QuadrantFleet, end: signal.Signals) -> None:
    """Nothing more is said, whoever still follows the changes, and no address with a token stays behind:
    neither on Ctrl-C nor where the terminal is closed.
    """
    with contextlib.ExitStack() as afterwards, dashboard(fleet.root, "--allow-actions", end=end) as address:
        page = http.client.HTTPConnection(address.removeprefix("http://"), timeout=30)
        afterwards.callback(page.close)
        page.request("GET", "/events")
        assert b"event: versions\n" == page.getresponse().readline()
    assert [] == list((fleet.root / ".fleetctl").glob("dashboard-*"))


def test_golden_pictures_are_png(site: Served) -> None:
    """The first sample of the contract, decoded, is the bright quadrant that it should be."""
    data = site.get("/boards/luxor-01/golden/0.png").body
    rows = zlib.decompress(data[data.index(b"IDAT") + 4 : -16])

    assert data.startswith(b"\x89PNG")
    assert 17 * 16 == len(rows)
    with pytest.raises(ValueError, match="no picture"):
        grey_png(3, 3, b"12345678")


def test_ten_thousand_boards(tmp_path: Path) -> None:
    """A page stays a page: fifty boards, a grid of thirty sites, and every board reachable by choosing."""
    fleet = fleet_of(10_000, sites=400)
    source = Source(
        Project(tmp_path / "inventory" / "f.yaml"), fleet, tuple(fleet.boards), FakeTransport(), list
    )
    watch = Watch(lambda: source, 3600)
    watch.snapshot = Snapshot(source, tuple(statuses(fleet, 7)), asked_at=1.7e9)
    with serving(watch) as site:
        page = site.get("/")
        last = site.get("/?page=200")
        found = site.get("/?q=b09999")

    assert len(page.body) < 300_000
    assert "9993 of 10000 boards healthy, 7 offline" in page.text
    assert "370 sites more, none worse than these." in page.text
    assert 50 == page.text.count('<th scope="row"><a href="/boards/')
    assert "b09999" in last.text
    assert "1 board</span>" in found.text


def contract(*labels: str) -> Contract:
    tensor = Tensor((1, 2), "uint8", 1.0, 0)
    golden = tuple(GoldenAnswer(label, 0.9) for label in labels)
    return Contract("m", "int8", "classification", ("A1", "B1"), {}, tensor, tensor, golden, 0.1)


def test_answers_beside_what_was_expected() -> None:
    """Answers are held against golden ones place by place; what is garbled or left out was not said."""
    receipt = {"answers": [{"label": "A1", "score": 0.8, "elapsed_ms": 4}, {"label": 7}, {"error": "late"}]}
    compared = compare(contract("A1", "B1", "A1", "B1"), receipt)

    assert [True, None, None, None] == [each.agrees for each in compared]
    assert ["A1", "no answer", "late", "no answer"] == [each.answer for each in compared]
    assert 0.5 == agreement(contract("A1", "B1"), {"answers": [{"label": "A1"}, {"label": "A1"}]})
    assert None is agreement(contract("A1"), {"answers": "yes"})
    assert None is agreement(None, receipt)
    assert replace(compared[0], index=1).index == 1


@as_another_user
def test_journals_that_may_not_be_read_are_said_at_once(tmp_path: Path) -> None:
    """Else the page would stand there without the rollout that it is open for."""
    fleet = fleet_of(1)
    source = Source(
        Project(tmp_path / "inventory/fleet.yaml"), fleet, (*fleet.boards,), FakeTransport(), list
    )
    (tmp_path / ".fleetctl").mkdir(mode=0)
    with nobody(tmp_path), pytest.raises(PermissionError):
        Watch(lambda: source, every=3600)

    (tmp_path / ".fleetctl").chmod(0o755)


def test_an_accident_is_not_the_end_of_asking(fleet: QuadrantFleet) -> None:
    """Whatever goes wrong while boards are asked is shown, what was known holds, and they are asked again."""
    accidents = iter([RuntimeError("an accident")])

    def source() -> Source:
        known = source_of(open_session(fleet.root / "inventory" / "fleet.yaml", "", TransportKind.FAKE))

        def ask() -> list[BoardStatus]:
            for accident in accidents:
                raise accident
            return list(known.ask())

        return replace(known, ask=ask)

    watch = Watch(source, every=3600)
    watch.ask()
    noted = watch.snapshot.note
    watch.ask()

    assert "boards cannot be asked: RuntimeError: an accident" == noted
    assert ("", 3) == (watch.snapshot.note, len(watch.snapshot.statuses))
