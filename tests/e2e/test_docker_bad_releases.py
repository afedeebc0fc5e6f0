"""Every kind of bad release on real boards: stopped at the canary for its own reason, and nowhere else seen.

The usual suite tries two kinds with a model of four quadrants; FLEETCTL_TEST_FULL=1 (`make test-full`) has
a small reader trained and tries all of them. docs/crashes.md has the table.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from bad_releases import REFUSED_WITH
from docker_boards import client_of_engine, container_of, lab_of, said_on
from long_matrices import FULL
from msgspec.structs import replace
from quadrant_fleet import QuadrantFleet

from fleetctl.manifest.schema import VariantName
from fleetctl.models.bad_releases import BAD_RELEASES

KINDS = {bad.name: bad.change for bad in BAD_RELEASES}
TRIED = sorted(KINDS) if FULL else ["labels shifted by one", "truncated model"]
ONLY_FLOAT = "weights not a number"  # no int8 weight can be that
CANARY, OTHER = "luxor-01", "karnak-01"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.xdist_group("docker boards"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:keras"),
]

Files = Mapping[str, bytes]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuadrantFleet]:
    """A canary and another board, bootstrapped."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp("bad") / "fleet")
    made.edit("  luxor-02: {host: 192.0.2.2, labels: {site: luxor}}\n", "")
    with lab_of(made, "amd64"):
        fit = made.run("bootstrap", patience=600)
        assert fit.status == 0, fit.err
        yield made


@pytest.fixture(scope="module")
def models(fleet: QuadrantFleet, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Files]:
    """The files of a good model, as int8 and as float32."""
    if not FULL:
        return {"int8": fleet.artifact_files()}
    return _small_reader(tmp_path_factory.mktemp("small"))


def _small_reader(folder: Path) -> Mapping[str, Files]:
    from small_reader import train

    from fleetctl.models import evaluate, margins

    small, made = train(folder, VariantName.FLOAT32, VariantName.INT8), {}
    for name, variant in small.variants.items():
        chosen = margins.choose(
            variant.contract, variant.tflite, small.samples, small.scored(name), count=16, seed=0
        )
        rows = [sample.index for sample in chosen.samples]
        contract = replace(
            variant.contract,
            model="quadrants",
            golden=tuple(evaluate.answers(variant.scores[rows], variant.contract.labels)),
            score_tolerance=chosen.tolerance,
        )
        made[name.value] = margins.artifact_files(
            contract, variant.tflite, small.samples.pick(rows), contract.golden
        )
    return made


def _settle_on(fleet: QuadrantFleet, files: Files) -> None:
    """Have every board run a good model."""
    if files != fleet.artifact_files():
        fleet.lock_files(files, "A good model")
    done = fleet.run("rollout", "--yes")
    assert done.status == 0, done.err


def _stops_at_the_canary(fleet: QuadrantFleet, reason: str) -> None:
    """Roll out what git says now: refused with `reason`, and every board is as it was before."""
    before, seen = fleet.boards(), _everything_on(fleet, OTHER)
    done = fleet.run("rollout", "--yes")
    fleet.git("revert", "--no-edit", "HEAD")
    after = fleet.boards()

    assert done.status == 40, done.err
    said = re.search(rf"{CANARY}: rolled back, (.*)", done.err)
    assert said, done.err
    assert re.search(reason, said[1]), said[1]
    assert [(board["loaded"], "running") for board in before.values()] == [
        (board["loaded"], board["service"]) for board in after.values()
    ]
    assert seen == _everything_on(fleet, OTHER)
    print(f"| {said[1][:110]} |")


def _everything_on(fleet: QuadrantFleet, board: str) -> str:
    """A digest of every file's name under the board's root, with its size and when it was written."""
    files = "find /opt/fleetctl ! -path /opt/fleetctl/state ! -name look.sh"  # which a look may keep
    listing = rf"{files} -printf '%p %s %T@ %C@\n' | sort | sha256sum"
    with client_of_engine() as client:
        return said_on(container_of(client, fleet, board), ["sh", "-c", listing])


@pytest.mark.parametrize("kind", TRIED)
def test_a_bad_model_stops_at_the_canary(
    fleet: QuadrantFleet, models: Mapping[str, Files], kind: str
) -> None:
    """The canary refuses it, says why, and serves what it served; the other board is not written to."""
    good = models["float32" if kind == ONLY_FLOAT else "int8"]
    bad = KINDS[kind](good)
    assert bad is not None

    _settle_on(fleet, good)
    fleet.lock_files(bad, kind)
    _stops_at_the_canary(fleet, REFUSED_WITH[kind])


def test_a_model_that_is_too_slow_stops_at_the_canary(
    fleet: QuadrantFleet, models: Mapping[str, Files]
) -> None:
    """Right answers that come later than the budget allows prove nothing."""
    _settle_on(fleet, models["int8"])
    fleet.edit("raspberrypi4: 2000", "raspberrypi4: 0.001")
    _stops_at_the_canary(fleet, REFUSED_WITH["too slow"])
