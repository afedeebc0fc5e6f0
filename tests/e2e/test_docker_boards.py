"""Boards as people own them: Debian with systemd and sshd, on the processor that most labs have.

They need a Docker engine, and what `make boards` makes: images to boot, and the wheels that bootstrap would
fetch. Without them these tests skip, and say so.
"""

import time
from collections.abc import Iterator

import pytest
from docker_boards import client_of_engine, container_of, lab_label, lab_of
from process_tree import kill_all_of
from quadrant_fleet import QuadrantFleet

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.xdist_group("docker boards")]


@pytest.fixture(scope="module", params=["amd64"])
def fleet(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QuadrantFleet]:
    """Two bootstrapped boards of one processor, before their first release."""
    made = QuadrantFleet.make(tmp_path_factory.mktemp(request.param) / "fleet")
    made.edit("  luxor-02: {host: 192.0.2.2, labels: {site: luxor}}\n", "")
    made.edit("karnak-01: {", "karnak-01: {board: coral-dev-board, variant: int8, accelerator: none, ")
    with lab_of(made, request.param):
        install_what_was_here_before(made, "luxor-01")
        yield made


WELL_HARDENED = 2.0  # of 10, by `systemd-analyze security`, which calls anything below 2.6 OK

BEFORE = """
set -e
mkdir -p /opt/fleetctl/counter-2.1
echo 'whoever was here before' > /opt/fleetctl/counter-2.1/index.html
ln -s counter-2.1 /opt/fleetctl/current
cat > /etc/systemd/system/fleetctl-serve.service <<END
[Service]
ExecStart=/usr/bin/python3 -m http.server 8080 --bind 127.0.0.1 --directory /opt/fleetctl/current
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now fleetctl-serve
"""
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/', timeout=2).read().decode())"


# `pending.json` is written before `current` is touched.
SPOIL_TRIAL = """
cd /opt/fleetctl
until [ "$(basename "$(readlink current)")" != "$(cat state/good)" ]; do sleep 0.1; done
rm current/runtime/recovery.py
echo 'raise SystemExit(3)' > current/runtime/recovery.py
"""


def install_what_was_here_before(fleet: QuadrantFleet, board: str) -> None:
    """Somebody else's service in our root, with a link and a unit of the names that we take."""
    with client_of_engine() as client:
        container = container_of(client, fleet, board)
        assert container.exec_run(["sh", "-c", BEFORE]).exit_code == 0


def answer_of_before(fleet: QuadrantFleet, board: str) -> str:
    """What that service answers; empty while it does not."""
    with client_of_engine() as client:
        asked = container_of(client, fleet, board).exec_run(["python3", "-c", ASK])
        return str(asked.output.decode()).strip() if asked.exit_code == 0 else ""


# As pam_systemd does it: sshd runs this before the command, in a process of the one that becomes the command.
BEGIN_SESSION = """
login=$(awk '/^PPid/ {print $2}' /proc/$PPID/status)
sudo busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager \\
  StartTransientUnit 'ssa(sv)a(sa(sv))' session-$login.scope fail 2 \\
  PIDs au 1 $login Slice s user-1000.slice 0 > /dev/null
until grep -q session- /proc/$login/cgroup; do sleep 0.05; done
"""
END_SESSIONS = (
    "rm /etc/ssh/sshrc; systemctl stop 'session-*.scope'"  # as logind does for KillUserProcesses=yes
)


def kill_when_pending(fleet: QuadrantFleet, board: str) -> None:
    """Begin a rollout to a board, and end its machine as soon as the board has the release on probation."""
    rollout = fleet.start("rollout", "--yes", "--on", board)
    give_up = time.monotonic() + 120
    with client_of_engine() as client:
        container = container_of(client, fleet, board)
        while container.exec_run(["test", "-e", "/opt/fleetctl/state/pending.json"]).exit_code:
            assert rollout.poll() is None, rollout.communicate()
            assert time.monotonic() < give_up
    kill_all_of(rollout)
    rollout.communicate()


def test_a_fresh_board_becomes_one_that_takes_releases(fleet: QuadrantFleet) -> None:
    """The first bootstrap makes user and interpreter, the second changes nothing."""
    first = fleet.run("bootstrap", "-o", "json", patience=900)
    second = fleet.run("bootstrap", "-o", "json", patience=900)

    assert (first.status, second.status) == (0, 0), first.err + second.err
    wanted = {"service user fleetctl", "python environment"}
    assert [wanted, wanted] == [set(board["changed"]) for board in first.json["boards"]]
    assert [[], []] == [board["changed"] for board in second.json["boards"]]
    assert [True, True] == [0 < board["exposure"] < WELL_HARDENED for board in second.json["boards"]], (
        second.out
    )


def test_a_release_proves_itself_in_a_service_without_rights(fleet: QuadrantFleet) -> None:
    """systemd runs the service as the user that may not log in, and the golden answers come from it."""
    assert answer_of_before(fleet, "luxor-01") == "whoever was here before"
    done = fleet.run("rollout", "--yes")
    assert done.status == 0, done.err
    fleet.must("status")

    whose = fleet.run("exec", "--yes", "-o", "json", "--", "ps -C python -o user=,args=")
    assert [True, True] == ["fleetctl " in board["stdout"] for board in whose.json["boards"]], whose.out


def test_an_accelerator_that_is_not_there_is_never_proved(fleet: QuadrantFleet) -> None:
    """A board that must use an Edge TPU and has none keeps what it ran."""
    before = fleet.boards()["karnak-01"]["loaded"]
    fleet.edit("accelerator: none", "accelerator: required")
    done = fleet.run("rollout", "--yes", "--on", "karnak-01")
    fleet.git("revert", "--no-edit", "HEAD")

    assert done.status != 0
    assert "verified" not in done.out
    assert before == fleet.boards()["karnak-01"]["loaded"]


def test_a_bad_release_goes_back_and_the_others_never_hear_of_it(fleet: QuadrantFleet) -> None:
    """Labels that were mixed up stop at the canary, under real systemd."""
    before = {name: board["loaded"] for name, board in fleet.boards().items()}
    fleet.mix_up_labels()
    done = fleet.run("rollout", "--yes")
    fleet.git("revert", "--no-edit", "HEAD")

    assert done.status == 40, done.err
    after = fleet.boards()
    assert before == {name: board["loaded"] for name, board in after.items()}
    assert {"running"} == {board["service"] for board in after.values()}


def test_a_board_whose_power_fails_before_it_is_confirmed_comes_back_on_the_last_good_release(
    fleet: QuadrantFleet,
) -> None:
    """The controller is killed after activation, and then the board: it boots into what was proved.

    What the release on trial would go back with does not work; what was proved before does.
    """
    good = fleet.boards()["luxor-01"]["loaded"]
    fleet.edit("luxor-01: {", "luxor-01: {config: {threshold: 0.2}, ")
    kill_when_pending(fleet, "luxor-01")
    with client_of_engine() as client:
        container = container_of(client, fleet, "luxor-01")
        assert container.exec_run(["sh", "-c", SPOIL_TRIAL]).exit_code == 0
        container.kill()
    fleet.must("lab", "start", "luxor-01")
    begun = time.monotonic()
    # What runs is settled at boot; what is noted of it, by the next release.
    while (board := fleet.boards("luxor-01")["luxor-01"])["service"] != "running":
        assert time.monotonic() < begun + 90, board

    assert (good, good, "running") == (board["loaded"], board["current"], board["service"])
    print(f"back on the last good release {time.monotonic() - begun:.1f} s after its power was")
    fleet.must("rollout", "--yes", "--on", "luxor-01")


def test_what_watches_a_board_outlives_the_login_that_began_it(fleet: QuadrantFleet) -> None:
    """Where logind ends all processes of a session with it, a board still goes back by itself."""
    good = fleet.boards()["karnak-01"]["loaded"]
    fleet.edit("karnak-01: {", "karnak-01: {config: {threshold: 0.2}, ")
    fleet.edit("confirm_timeout: 30s", "confirm_timeout: 8s")
    with client_of_engine() as client:
        container = container_of(client, fleet, "karnak-01")
        assert (
            container.exec_run(["sh", "-c", f"cat > /etc/ssh/sshrc <<'END'\n{BEGIN_SESSION}END"]).exit_code
            == 0
        )
        kill_when_pending(fleet, "karnak-01")
        assert container.exec_run(["sh", "-c", END_SESSIONS]).exit_code == 0

        give_up = time.monotonic() + 60
        while container.exec_run(["test", "-e", "/opt/fleetctl/state/pending.json"]).exit_code == 0:
            assert time.monotonic() < give_up

    board = fleet.boards("karnak-01")["karnak-01"]
    assert (good, good, "running") == (board["loaded"], board["current"], board["service"])


def test_a_reboot_outlives_the_login_that_ordered_it(fleet: QuadrantFleet) -> None:
    """Where logind ends all processes of a session with it, a board that was told to boot anew does."""
    with client_of_engine() as client:
        container = container_of(client, fleet, "karnak-01")
        begin = f"cat > /etc/ssh/sshrc <<'END'\n{BEGIN_SESSION}END"
        assert container.exec_run(["sh", "-c", begin]).exit_code == 0
        doctor = fleet.start("doctor", "karnak-01", "--remedy", "reboot", "--yes")
        give_up = time.monotonic() + 60
        while container.exec_run(["pgrep", "-f", "systemctl reboot"]).exit_code:
            assert doctor.poll() is None, doctor.communicate()
            assert time.monotonic() < give_up
        assert container.exec_run(["sh", "-c", END_SESSIONS]).exit_code == 0

        container.wait(timeout=60)
        kill_all_of(doctor)  # it waits for a clock to begin anew, and a container has its machine's
        doctor.communicate()
    fleet.must("lab", "start", "karnak-01")
    give_up = time.monotonic() + 90
    while fleet.boards("karnak-01")["karnak-01"]["service"] != "running":
        assert time.monotonic() < give_up


def test_a_board_that_is_left_runs_what_it_ran_before_us(fleet: QuadrantFleet) -> None:
    """Unit, link and files of before are there again after many releases, and their service answers."""
    assert answer_of_before(fleet, "luxor-01") == ""
    left = fleet.run("leave", "--yes", "--on", "luxor-01", "-o", "json")
    assert (left.status, [board["left"] for board in left.json["boards"]]) == (0, [True]), left.err

    give_up = time.monotonic() + 20
    while answer_of_before(fleet, "luxor-01") != "whoever was here before":
        assert time.monotonic() < give_up
    assert fleet.boards("luxor-01")["luxor-01"]["current"] is None


def test_down_leaves_nothing(fleet: QuadrantFleet) -> None:
    """No container and no network of the lab remains, and no volume was ever made for it."""
    label = {"label": lab_label(fleet)}
    with client_of_engine() as client:
        boards = client.containers.list(all=True, filters=label)
        assert boards
        assert {"bind"} == {mount["Type"] for board in boards for mount in board.attrs["Mounts"]}
        fleet.must("lab", "down")
        assert [] == client.containers.list(all=True, filters=label)
        assert [] == client.networks.list(filters=label)
