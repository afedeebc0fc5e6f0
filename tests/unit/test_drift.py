"""What differs between git, a board's files and its process: each difference once, with its origin."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.artifact import BlobRef
from fleetctl.blame import Change, Move
from fleetctl.drift import BoardDrift, Origin, drifting, find_drift
from fleetctl.manifest.schema import (
    Accelerator,
    Board,
    BoardKind,
    DriftKind,
    DriftPolicy,
    DriftRule,
    VariantName,
)
from fleetctl.observation import Alteration, Loaded, Observed, Reach
from fleetctl.release import Release
from fleetctl.report.drift import drift_markdown, drift_text

MODEL, CONFIG = "model/model.tflite", "config/serve.json"
RELEASE = Release(
    {path: BlobRef(c * 64, 10) for path, c in ((MODEL, "a"), (CONFIG, "b"), ("runtime/serve.py", "c"))}
)
VALUES = {"threshold": 0.5, "threads": 4}
BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="h")
WELL = Observed(
    "luxor-01",
    current=RELEASE.digest,
    good=RELEASE.digest,
    files={path: ref.sha256 for path, ref in RELEASE.files.items()},
    config=VALUES,
    service="running",
    loaded=Loaded(RELEASE.digest, "a" * 64, "cpu", "2026-01-01T00:00:00Z"),
    receipt={"release": RELEASE.digest, "commit": "c" * 40, "state": "confirmed"},
)
COMMIT = Change("d" * 40, "Ann", "2026-01-03T00:00:00+00:00", "Ask for surer answers")
NOW = 1767484800.0  # 2026-01-04T00:00:00Z


def drift(seen: Observed, *rules: DriftRule, board: Board = BOARD, today: str = "2026-01-04") -> BoardDrift:
    return find_drift(
        board, RELEASE, VALUES, seen, policy=DriftPolicy(rules), today=today, blame=lambda _: Move(COMMIT)
    )


def told(found: BoardDrift) -> list[tuple[str, str, str | None, str | None, str | None]]:
    return [(d.kind.value, d.what, d.declared, d.files, d.loaded) for d in found.drifts]


def test_a_board_as_git_says_has_none() -> None:
    """Declared, on disk and loaded are one: nothing to tell."""
    assert BoardDrift("luxor-01") == drift(WELL)


def test_units_that_others_changed() -> None:
    """An edited unit and a drop-in are told with since and by; only the first is what a rollout mends."""
    unit, over = "/etc/systemd/system/a.service", "/etc/systemd/system/a.service.d/x.conf"
    changed = {unit: Alteration("2026-01-02T00:00:00Z", "pi", OTHER), over: Alteration("", "root", "f" * 64)}
    both = drift(replace(WELL, units=changed))
    only_over = drift(replace(WELL, units={over: changed[over]}))
    gone = drift(replace(WELL, units={unit: Alteration("2026-01-02T00:00:00Z")}))
    text = drift_text([both, only_over], NOW, 80)

    assert [("unit", unit, None, OTHER, None), ("unit", over, None, "f" * 64, None)] == told(both)
    assert Origin("2026-01-02T00:00:00Z", "pi", "edited on the board") == both.drifts[0].origin
    assert "deleted on the board" == gone.drifts[0].origin.how
    assert ["luxor-01"] == drifting([both])
    assert [] == drifting([only_over])
    assert not only_over.is_clean
    assert "edited on the board 2 d ago by pi" in text
    assert "2 drop-ins to take away by hand" in " ".join(text.split())
    ignored = drift(
        replace(WELL, units={over: changed[over]}), DriftRule("meant", (), DriftKind.UNIT, "*.d/*")
    )
    assert ignored.is_clean


PROOFS: list[tuple[dict[str, Any], str, str]] = [
    ({"good": "e" * 64, "pending": RELEASE.digest}, "on probation", "a rollout is at work or was cut short;"),
    ({"good": None}, "never", "its release was never confirmed"),
    ({"repaired": True}, "outdated", "interpreter changed since the service was started 3 d ago"),
]


@pytest.mark.parametrize(("seen", "loaded", "how"), PROOFS)
def test_a_board_that_did_not_prove_what_it_runs_differs(seen: dict[str, Any], loaded: str, how: str) -> None:
    """Though files and process are right: a rollout would prove it anew, and `status` calls it wrong."""
    found = drift(replace(WELL, **seen))
    moved = drift(replace(WELL, **{**seen, "current": OTHER, "pending": OTHER}))

    assert [("service", "proof", "confirmed", None, loaded)] == told(found)
    assert how in " ".join(drift_text([found], NOW, 80).split())
    assert ["luxor-01"] == drifting([found])
    assert "proof" not in {each.what for each in moved.drifts}


OTHER = "e" * 64
ALTERED = {CONFIG: Alteration("2026-01-02T00:00:00Z", "pi")}
CASES: list[tuple[str, dict[str, Any], list[tuple[str, str, str | None, str | None, str | None]], Origin]] = [
    (
        "git moved on",
        {
            "current": OTHER,
            "loaded": replace(WELL.loaded or Loaded(), release=OTHER),
            "files": {**WELL.files, "unit/a.service": OTHER},
        },
        [("release", "release", RELEASE.digest, OTHER, OTHER)],
        Origin(COMMIT.when, "Ann", "git moved on: Ask for surer answers (ddddddd)"),
    ),
    (
        "fleetctl itself moved on",
        {
            "current": OTHER,
            "loaded": replace(WELL.loaded or Loaded(), release=OTHER),
            "files": {
                **WELL.files,
                "runtime/serve.py": OTHER,
                "runtime/old.py": OTHER,
                "unit/a.service": OTHER,
            },
        },
        [("release", "release", RELEASE.digest, OTHER, OTHER)],
        Origin(how="this fleetctl brings another board runtime"),
    ),
    (
        "git and fleetctl moved on",
        {
            "current": OTHER,
            "loaded": replace(WELL.loaded or Loaded(), release=OTHER),
            "files": {**WELL.files, "runtime/serve.py": OTHER, "model/contract.json": OTHER},
        },
        [("release", "release", RELEASE.digest, OTHER, OTHER)],
        Origin(
            COMMIT.when,
            "Ann",
            "git moved on: Ask for surer answers (ddddddd); this fleetctl brings another board runtime, too",
        ),
    ),
    (
        "the board went back by itself",
        {
            "current": OTHER,
            "loaded": replace(WELL.loaded or Loaded(), release=OTHER),
            "receipt": {
                "release": RELEASE.digest,
                "state": "reverted",
                "time": "2026-01-02T00:00:00Z",
                "reasons": ["too slow"],
            },
        },
        [("release", "release", RELEASE.digest, OTHER, OTHER)],
        Origin("2026-01-02T00:00:00Z", "the board", "went back (too slow)"),
    ),
    (
        "the process has another release than the disk",
        {"loaded": Loaded(OTHER, "a" * 64, "cpu", "2026-01-01T00:00:00Z")},
        [("release", "release", RELEASE.digest, RELEASE.digest, OTHER)],
        Origin(
            "2026-01-01T00:00:00Z",
            how="the service did not start anew when the release on disk changed",
        ),
    ),
    (
        "the process has another model than the disk",
        {"loaded": Loaded(RELEASE.digest, OTHER, "cpu")},
        [("model", MODEL, "a" * 64, "a" * 64, OTHER)],
        Origin(),
    ),
    (
        "a value was changed by hand",
        {
            "config": {**VALUES, "threshold": 0.1, "debug": True},
            "files": {**WELL.files, CONFIG: OTHER},
            "altered": ALTERED,
        },
        [("config", "threshold", "0.5", "0.1", None), ("config", "debug", None, "true", None)],
        Origin("2026-01-02T00:00:00Z", "pi", "altered on the board"),
    ),
    (
        "the config is no JSON any more",
        {"config": {}, "files": {**WELL.files, CONFIG: OTHER}, "altered": ALTERED},
        [
            ("config", "threshold", "0.5", None, None),
            ("config", "threads", "4", None, None),
            ("file", CONFIG, "b" * 64, OTHER, None),
        ],
        Origin("2026-01-02T00:00:00Z", "pi", "altered on the board"),
    ),
    (
        "a file is gone",
        {
            "files": {MODEL: "a" * 64, CONFIG: "b" * 64},
            "altered": {"runtime/serve.py": Alteration("2026-01-02T00:00:00Z")},
        },
        [("file", "runtime/serve.py", "c" * 64, None, None)],
        Origin("2026-01-02T00:00:00Z", "", "deleted on the board"),
    ),
    ("the service is down", {"service": "stopped", "loaded": None},
     [("service", "service", "running", None, "stopped")], Origin()),
    ("the service is silent", {"loaded": None},
     [("service", "service", "running", None, None)], Origin(how="it does not say what it has loaded")),
    ("nothing of ours runs", {"current": None, "foreign": True},
     [("release", "release", RELEASE.digest, None, None)],
     Origin(how="it runs what others put there")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected", "origin"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_each_difference(
    change: dict[str, Any],
    expected: list[tuple[str, str, str | None, str | None, str | None]],
    origin: Origin,
) -> None:
    """Every way of differing is told once, by its three sides, with since when and by whom."""
    found = drift(replace(WELL, **change))

    assert expected == told(found)
    assert origin == found.drifts[0].origin
    assert not found.is_clean


def test_the_accelerator_that_was_asked_for() -> None:
    """A service that serves from the CPU where the Edge TPU is required differs, however well it answers."""
    required = replace(BOARD, accelerator=Accelerator.REQUIRED)

    assert [("service", "accelerator", "edgetpu", None, "cpu")] == told(drift(WELL, board=required))


def test_a_board_that_cannot_be_asked_is_not_clean() -> None:
    """Nobody knows: that is no drift, and no clean bill either."""
    found = drift(Observed("luxor-01", Reach.OFFLINE, "no route to host"))

    assert ("no route to host", (), False) == (found.unknown, found.drifts, found.is_clean)


@pytest.mark.parametrize(
    ("rule", "today", "left_aside"),
    [
        ({}, "2026-01-04", True),
        ({"boards": ("luxor-*",), "kind": DriftKind.CONFIG, "what": "thres*"}, "2026-01-04", True),
        ({"boards": ("karnak-*",)}, "2026-01-04", False),
        ({"kind": DriftKind.FILE}, "2026-01-04", False),
        ({"what": "threads"}, "2026-01-04", False),
        ({"until": "2026-01-04"}, "2026-01-04", True),
        ({"until": "2026-01-04"}, "2026-01-05", False),
    ],
)
def test_what_the_manifest_leaves_aside(rule: dict[str, Any], today: str, left_aside: bool) -> None:
    """A rule holds for what it names, up to its last day; what it covers is still shown, with the reason."""
    seen = replace(WELL, config={**VALUES, "threshold": 0.1})
    found = drift(seen, DriftRule("a trial until May", **rule), today=today)

    assert left_aside == found.is_clean
    assert [None if not left_aside else "a trial until May"] == [d.ignored for d in found.drifts]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    files=st.dictionaries(
        st.sampled_from([*RELEASE.files]), st.sampled_from(["0" * 64, "1" * 64]), max_size=3
    ),
    gone=st.sets(st.sampled_from([*RELEASE.files])),
)
def test_every_altered_file_is_found(files: dict[str, str], gone: set[str]) -> None:
    """Whatever is changed or deleted, exactly that is told; nothing changed, nothing told."""
    on_disk = {path: sha for path, sha in {**WELL.files, **files}.items() if path not in gone}
    differing = {path for path, sha in WELL.files.items() if on_disk.get(path) != sha}
    found = drift(replace(WELL, files=on_disk, config={}))

    assert differing <= {d.what for d in found.drifts if d.kind in (DriftKind.FILE, DriftKind.MODEL)} | {
        CONFIG
    }
    assert {d.what for d in found.drifts if d.kind in (DriftKind.FILE, DriftKind.MODEL)} == differing


def test_how_it_is_shown() -> None:
    """Three sides in 80 columns, the origin below, what is left aside with its reason, and a closing line."""
    seen = replace(WELL, config={**VALUES, "threshold": 0.1}, altered=ALTERED)
    found = [
        drift(seen, DriftRule("a trial", what="threads")),
        BoardDrift("karnak-01", unknown="no route to host"),
        BoardDrift("karnak-02"),
    ]

    assert drift_text(found, NOW, 80).splitlines() == [
        "  WHAT              DECLARED  FILES  LOADED",
        "luxor-01",
        "  config threshold  0.5       0.1    -",
        "     altered on the board 2 d ago by pi",
        "karnak-01: not known: no route to host",
        "",
        "1 of 3 boards differs from what git says; 1 could not be asked",
    ]
    assert ["luxor-01"] == drifting(found)
    json.dumps([each.to_json() for each in found])


def test_a_board_cannot_write_markup() -> None:
    """What a board says of itself breaks out of no table and moves no cursor."""
    hostile = replace(WELL, service="\x1b[2J|<script>", altered={})
    found = [drift(hostile)]

    assert "\x1b" not in drift_text(found, NOW, 80)
    assert "<script>" not in drift_markdown(found, NOW)


def test_a_board_adds_no_line_about_another() -> None:
    """By no name of a value in its config, and by no state of its service."""
    hostile = replace(WELL, service="off\nkarnak-01", config={**VALUES, "x\nkarnak-01": 1})

    lines = drift_text([drift(hostile)], NOW, 80).splitlines()

    assert not any(line.startswith("karnak-01") for line in lines)
