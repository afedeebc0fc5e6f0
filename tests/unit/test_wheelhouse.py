"""Wheels for boards and module images: what pip is asked for, and that what it fetched stays what it was."""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace
from stand_in_pip import Pip

from fleetctl.bootstrap import wheelhouse
from fleetctl.bootstrap.wheelhouse import Platform, fetch, list_of
from fleetctl.errors import FleetError, ToolchainMissing, WriteError
from fleetctl.images.wheels import module_wheels
from fleetctl.store import sha256

PI = Platform("aarch64", (3, 11), (2, 36))
WHEEL = "a-1-py3-none-any.whl"


def test_wheels_are_asked_for_by_the_boards_platform(tmp_path: Path) -> None:
    """pip is told the board's Python, processor and C library, newest tag first."""
    pip = Pip("numpy-1-py3-none-any.whl")
    fetch(PI, tmp_path, pip)
    (argv,) = pip.calls

    assert "3.11" == argv[argv.index("--python-version") + 1]
    tags = [argv[i + 1] for i, word in enumerate(argv) if word == "--platform"]
    assert "manylinux_2_36_aarch64" == tags[0]
    assert "manylinux2014_aarch64" in tags
    assert "tflite-runtime>=2.7,<2.15" in argv


def test_wheels_are_fetched_once(tmp_path: Path) -> None:
    """A second board of a platform costs no download; a download that was cut short is made again."""
    pip = Pip("numpy-1-py3-none-any.whl")
    first, second = fetch(PI, tmp_path, pip), fetch(PI, tmp_path, pip)
    assert (1, first) == (len(pip.calls), second)

    list_of(PI, tmp_path).unlink()
    fetch(PI, tmp_path, pip)
    assert 2 == len(pip.calls)


def test_fetched_wheels_are_listed_by_digest(tmp_path: Path) -> None:
    """In the form that `sha256sum --check` reads, behind what pip was asked for."""
    fetch(PI, tmp_path, Pip("b-1-py3-none-any.whl", "a-1-py3-none-any.whl"))
    heading, *lines = list_of(PI, tmp_path).read_text().splitlines()

    assert "# pip download pip numpy<2 tflite-runtime>=2.7,<2.15" == heading
    assert [f"{sha256(n.encode())}  {n}" for n in ("a-1-py3-none-any.whl", "b-1-py3-none-any.whl")] == lines


def test_an_altered_wheel_is_refused(tmp_path: Path) -> None:
    """Boards install wheels as root, and nothing but the list beside them says what was fetched."""
    wheel = fetch(PI, tmp_path, Pip("a-1-py3-none-any.whl"))["a-1-py3-none-any.whl"]
    wheel.write_text("evil")
    with pytest.raises(FleetError, match="is not the wheel that was fetched: its sha256"):
        fetch(PI, tmp_path, Pip())
    wheel.unlink()
    with pytest.raises(FleetError, match="is gone: SHA256SUMS beside it"):
        fetch(PI, tmp_path, Pip())


@pytest.mark.parametrize(
    ("wheel", "fits"),
    [
        ("pip-26.3-py3-none-any.whl", True),
        ("numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl", True),
        ("cryptography-50-cp37-abi3-manylinux_2_34_aarch64.whl", True),
        ("numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", False),
        ("numpy-1.26.4-cp39-cp39-manylinux2014_aarch64.whl", False),
        ("tflite_runtime-2.14.0-cp311-cp311-manylinux_2_99_aarch64.whl", False),
    ],
)
def test_wheels_of_another_platform_are_refused_here(wheel: str, fits: bool, tmp_path: Path) -> None:
    """Somebody brought them by hand, list and all; no board has to unpack them to find out."""
    if fits:
        assert [wheel] == list(fetch(PI, tmp_path, Pip(wheel)))
        return
    with pytest.raises(FleetError, match="is not for aarch64-cp311-glibc2") as refused:
        fetch(PI, tmp_path, Pip(wheel))
    assert "to have them fetched anew" in refused.value.hint


def test_who_comes_second_finds_what_the_first_one_fetched(tmp_path: Path) -> None:
    """Two bootstraps at once would delete what the other one's pip is writing."""
    pip = Pip(WHEEL)

    def fetches_meanwhile(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        seconds.append(pool.submit(fetch, PI, tmp_path, pip))
        assert not seconds[0].done()
        return pip(argv)

    seconds: list[Future[Mapping[str, Path]]] = []
    with ThreadPoolExecutor(1) as pool:
        first = fetch(PI, tmp_path, fetches_meanwhile)

    assert (1, first) == (len(pip.calls), seconds[0].result())


def test_a_wheelhouse_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """As one of somebody else's: which path, and why."""
    (tmp_path / "wheelhouse").write_text("no folder")
    with pytest.raises(WriteError, match="cannot write "):
        fetch(PI, tmp_path / "wheelhouse", Pip(WHEEL))


def test_a_wheel_that_is_not_listed_is_not_sent(tmp_path: Path) -> None:
    """Nor is a file that a list names outside its folder."""
    fetch(PI, tmp_path, Pip("a-1-py3-none-any.whl"))
    (tmp_path / PI.name / "evil-1-py3-none-any.whl").write_text("evil")
    assert ["a-1-py3-none-any.whl"] == list(fetch(PI, tmp_path, Pip()))

    with list_of(PI, tmp_path).open("a") as stream:
        stream.write(f"{sha256(b'evil')}  ../evil-1-py3-none-any.whl\n")
    with pytest.raises(FleetError, match="is damaged"):
        fetch(PI, tmp_path, Pip())


def test_wheels_without_a_list_are_fetched_anew(tmp_path: Path) -> None:
    """Whoever brought them, and where that cannot be, nothing of them is taken or lost."""
    place = tmp_path / PI.name
    place.mkdir()
    (place / "a-1-py3-none-any.whl").write_text("evil")
    with pytest.raises(FleetError, match="no wheels for"):
        fetch(PI, tmp_path, Pip(status=1))
    assert ["a-1-py3-none-any.whl"] == [path.name for path in place.iterdir()]

    assert ["b-1-py3-none-any.whl"] == list(fetch(PI, tmp_path, Pip("b-1-py3-none-any.whl")))


@pytest.mark.parametrize(
    ("platform", "hint"),
    [
        (PI, "let this machine reach a Python package index"),
        (replace(PI, machine="armv7l"), "PIP_EXTRA_INDEX_URL=https://www.piwheels.org/simple"),
        (replace(PI, machine="armv7l", python=(3, 13)), "no TFLite runtime is published for 32-bit ARM"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_helps_where_there_are_no_wheels(tmp_path: Path, platform: Platform, hint: str) -> None:
    """PyPI has no numpy for 32-bit ARM, however well it is reached."""
    pip = Pip(status=1, stderr="ERROR: No matching distribution found for numpy<2\n")
    with pytest.raises(FleetError) as raised:
        fetch(platform, tmp_path, pip)

    assert hint in raised.value.hint


def test_a_newer_python_gets_the_newer_runtime(tmp_path: Path) -> None:
    """tflite-runtime has no wheels beyond Python 3.11."""
    pip = Pip()
    fetch(replace(PI, python=(3, 13)), tmp_path, pip)

    assert "ai-edge-litert>=2" in pip.calls[0]


def test_no_wheels_is_said_in_pips_words(tmp_path: Path) -> None:
    """The last thing pip complained of is what a person reads."""
    pip = Pip(status=1, stderr="WARNING: x\nERROR: No matching distribution found for tflite-runtime\n")
    with pytest.raises(FleetError, match=r"aarch64-cp311-glibc2\.36: No matching distribution"):
        fetch(PI, tmp_path, pip)


def test_an_error_that_pip_did_not_expect_is_named(tmp_path: Path) -> None:
    """pip writes `ERROR: Exception:` before a traceback; what happened stands in its last line."""
    said = "ERROR: Exception:\nTraceback (most recent call last):\n  ...\nOSError: the card is gone\n"
    with pytest.raises(FleetError, match="36: OSError: the card is gone"):
        fetch(PI, tmp_path, Pip(status=2, stderr=said))


def test_a_python_without_pip_is_said(tmp_path: Path) -> None:
    """Environments that other tools made may lack pip."""
    pip = Pip(status=1, stderr="/usr/bin/python3: No module named pip\n")
    with pytest.raises(ToolchainMissing, match="pip"):
        fetch(PI, tmp_path, pip)


def test_a_module_image_has_the_wheels_of_a_board_and_the_sdk(tmp_path: Path) -> None:
    """The SDK wants a package that is published as source alone: its wheel comes first. pip stays outside."""
    pip = Pip(WHEEL, "pip-25-py3-none-any.whl")
    wheels = module_wheels("aarch64", tmp_path, pip)
    first, made, fetched = ([argv[3], argv[-1]] for argv in pip.calls)

    assert [WHEEL] == list(wheels)
    assert ["download", "tflite-runtime>=2.7,<2.15"] == first
    assert [["wheel", "paho-mqtt>=1.6.1,<2"], ["download", "azure-iot-device>=2.14,<3"]] == [made, fetched]
    assert wheels == module_wheels("aarch64", tmp_path, pip)
    assert 3 == len(pip.calls)


def test_an_altered_wheel_is_in_no_module_image(tmp_path: Path) -> None:
    """The SDK is held against the list of its folder as a board's wheels are."""
    wheel = module_wheels("aarch64", tmp_path, Pip(WHEEL))[WHEEL]
    assert "aarch64-cp311-glibc2.36-iothub" == wheel.parent.name
    wheel.write_text("evil")
    with pytest.raises(FleetError, match="is not the wheel that was fetched: its sha256"):
        module_wheels("aarch64", tmp_path, Pip())


def test_module_wheels_of_whoever_brought_them_are_fetched_anew(tmp_path: Path) -> None:
    """A folder without a list is nobody's word."""
    fetch(PI, tmp_path, Pip(WHEEL))
    place = tmp_path / f"{PI.name}-iothub"
    place.mkdir()
    (place / "evil-1-py3-none-any.whl").write_text("evil")
    with pytest.raises(FleetError, match="no wheels for a module image: nobody there"):
        module_wheels("aarch64", tmp_path, Pip(status=1, stderr="ERROR: nobody there\n"))

    assert [WHEEL] == list(module_wheels("aarch64", tmp_path, Pip(WHEEL)))


def test_a_pip_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For module images as for boards; the message says how long it was waited for."""
    fetch(PI, tmp_path, Pip(WHEEL))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(wheelhouse, "_PATIENCE", 0.0)
    with pytest.raises(FleetError, match="pip did not fetch the wheels within 0 minutes"):
        module_wheels("aarch64", tmp_path)
