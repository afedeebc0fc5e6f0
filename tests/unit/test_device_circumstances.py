"""What a board sees of its surroundings, in folders that look like the kernel's."""

from pathlib import Path

import pytest
from tiny_board import TinyBoard, powered, tiny_release

from fleetctl.device.circumstances import clock_is_synchronized, disk, edge_tpus, memory, network
from fleetctl.device.remedy_verb import unplug_and_plug


def write(root: Path, files: dict[str, str]) -> str:
    """A tree of small files; returns its root as the functions take it."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return str(root)


def usb(port: str, vendor: str, product: str) -> dict[str, str]:
    folder = f"sys/bus/usb/devices/{port}"
    return {f"{folder}/idVendor": vendor, f"{folder}/idProduct": product, f"{folder}/authorized": "1\n"}


def test_memory_and_what_is_absent(tmp_path: Path) -> None:
    """Kilobytes become bytes; a kernel that does not tell leaves nulls."""
    slash = write(tmp_path, {"proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 250 kB\n"})

    assert {"total_bytes": 1024000, "free_bytes": 256000, "swap_bytes": None} == memory(slash)
    assert {None} == set(memory(str(tmp_path / "nothing")).values())


def test_the_disk_of_a_root_that_is_not_there_yet(tmp_path: Path) -> None:
    """The file system that the folder will lie on is told."""
    told = disk(str(tmp_path / "opt" / "fleetctl"))

    assert disk(str(tmp_path))["total_bytes"] == told["total_bytes"] > told["free_bytes"] >= 0


def test_interfaces_that_are_up(tmp_path: Path) -> None:
    """Errors, the level of a radio link, and a way out; loopback and what is down are left out."""
    net = "sys/class/net"
    slash = write(
        tmp_path,
        {
            **{
                f"{net}/{name}/operstate": state
                for name, state in (("wlan0", "up"), ("eth0", "down"), ("lo", "up"))
            },
            f"{net}/wlan0/statistics/rx_packets": "1000",
            f"{net}/wlan0/statistics/rx_errors": "30",
            "proc/net/wireless": "face | tus\n wlan0: 0000   40.  -78.  -256\n",
            "proc/net/route": "I D G F R U M m T W i\n"
            + "wlan0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n",
        },
    )

    wlan = {"name": "wlan0", "packets": 1000, "errors": 30, "signal_dbm": -78.0}
    assert {"interfaces": [wlan], "default_route": True} == network(slash)
    assert {"interfaces": [], "default_route": None} == network(str(tmp_path / "nothing"))


def test_edge_tpus_on_both_buses(tmp_path: Path) -> None:
    """One on PCIe with its temperature, one on USB that was never used, one that was; no other device."""
    slash = write(
        tmp_path,
        {
            "dev/apex_0": "",
            "sys/class/apex/apex_0/temp": "51500\n",
            **usb("1-1.2", "1a6e", "089a"),
            **usb("2-1", "18d1", "9302"),
            **usb("3-1", "046d", "c31c"),
        },
    )

    assert [("pcie", "apex_0", None, 51.5), ("usb", "1-1.2", False, None), ("usb", "2-1", True, None)] == [
        tuple(tpu.values()) for tpu in edge_tpus(slash)
    ]


def test_only_accelerators_are_unplugged(tmp_path: Path) -> None:
    """Their ports are switched, in the end on; the keyboard's is not touched."""
    slash = write(tmp_path, {**usb("1-1", "1a6e", "089a"), **usb("3-1", "046d", "c31c")})

    assert ["1-1"] == unplug_and_plug(slash)
    switches = [tmp_path / f"sys/bus/usb/devices/{port}/authorized" for port in ("1-1", "3-1")]
    assert ["1", "1\n"] == [switch.read_text() for switch in switches]


def test_no_port_is_left_off(tmp_path: Path) -> None:
    """Where the kernel does not let go of the second accelerator, the first gets its port back."""
    slash = write(tmp_path, {**usb("1-1", "1a6e", "089a"), **usb("2-1", "1a6e", "089a")})
    stuck = tmp_path / "sys/bus/usb/devices/2-1/authorized"
    stuck.unlink()
    stuck.mkdir()

    with pytest.raises(OSError, match="2-1"):
        unplug_and_plug(slash)
    assert "1" == (tmp_path / "sys/bus/usb/devices/1-1/authorized").read_text()


def test_a_clock_that_systemd_keeps(tmp_path: Path) -> None:
    """timesyncd's file says it; without it, a test's tree cannot tell."""
    assert clock_is_synchronized(write(tmp_path, {"run/systemd/timesync/synchronized": ""}))
    assert clock_is_synchronized(str(tmp_path / "nothing")) is None


def test_examining_and_restarting_a_real_board(tmp_path: Path) -> None:
    """`examine` names the service and leaves it be; `remedy` starts it anew, or says why not."""
    with powered(tmp_path / "root") as board:
        bare = board.ask("examine")
        board.install(tiny_release(board.port))
        pid = board.healthz()["pid"]
        said = board.ask("examine")
        again = board.ask("remedy", {"step": "restart-service"})
        board.wait_until_settled()
        wrong = board.ask("remedy", {"step": "unplug"})
        absent = board.ask("remedy", {"step": "reset-usb"})

        assert (True, None) == (bare["ok"], bare["service"])
        assert ("process", pid, "active") == tuple(
            said["service"][key] for key in ("manager", "pid", "state")
        )
        assert "the service was started anew" == again["done"]
        assert pid != _pid_when_up(board)
    assert ("bad-request", "no-accelerator") == (wrong["code"], absent["code"])


def _pid_when_up(board: TinyBoard) -> int:
    from fleetctl.device.clock import wait_until

    assert wait_until(lambda: board.serves() is not None, 60)
    return int(board.healthz()["pid"])


@pytest.mark.parametrize("step", ["restart-service"])
def test_a_bare_board_has_nothing_to_restart(tmp_path: Path, step: str) -> None:
    """Without a release of ours there is no service of ours."""
    assert "nothing-active" == TinyBoard(tmp_path / "root").ask("remedy", {"step": step})["code"]
