"""The pure parts of the Ansible transport: what is written for it, and what is read from it."""

import json
import shlex
import subprocess
from binascii import b2a_base64
from pathlib import Path
from typing import Any
from zlib import compress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.artifact import BlobRef
from fleetctl.device.loader import WORTH_FOLDING, folded
from fleetctl.manifest.schema import Accelerator, Board, BoardKind, ServiceManager, VariantName, Via
from fleetctl.release import Release
from fleetctl.signing.statement import Signed
from fleetctl.transports import wire
from fleetctl.transports.ansible import reply_of
from fleetctl.transports.ansible_inventory import group_name, host_key_options, host_vars
from fleetctl.transports.base import Holding, Order, Reply, ReplyStatus
from fleetctl.transports.hostkeys import fault_of
from fleetctl.transports.orders import (
    Goal,
    Preparation,
    Work,
    reply_from_json,
    reply_to_json,
    work_from_json,
    work_to_json,
)

BOARD = Board("luxor-01", BoardKind.RASPBERRYPI4, "reader", VariantName.INT8, host="192.0.2.11", port=2222)
KNOWN_HOSTS = Path("inventory/known_hosts")
WORK = {"luxor-01": Work(BOARD, Goal.RELEASED, 300.0, KNOWN_HOSTS)}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
boards = st.builds(
    Board,
    name=st.text(min_size=1),
    board=st.sampled_from(BoardKind),
    model=st.text(),
    variant=st.sampled_from(VariantName),
    via=st.sampled_from(Via),
    host=st.text(),
    port=st.integers(1, 65535),
    become=st.booleans(),
    service=st.sampled_from(ServiceManager),
    accelerator=st.sampled_from(Accelerator),
    labels=st.dictionaries(st.text(), st.text()),
    config=st.dictionaries(st.text(), json_values),
    groups=st.lists(st.text()).map(tuple),
)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
releases = st.builds(
    Release, st.dictionaries(st.text(), st.builds(BlobRef, sha256=digests, size=st.integers(0, 1 << 40)))
)
signed = st.none() | st.builds(Signed, st.text(), st.text())
orders = st.builds(
    Order,
    board=boards,
    release=releases,
    blobs=st.just(Path("store")),
    commit=st.text(),
    confirm_timeout=st.floats(0, 1e6),
    deadline=st.floats(0, 1e6),
    signed=signed,
    holding=st.none()
    | st.builds(
        Holding,
        st.none() | digests,
        st.dictionaries(st.text(), digests),
        st.lists(digests).map(tuple),
        st.none() | st.dictionaries(digests, st.integers(1, 1 << 40)),
    ),
)
works = st.builds(
    Work,
    board=boards,
    goal=st.sampled_from(Goal),
    deadline=st.floats(0, 1e6),
    known_hosts=st.just(KNOWN_HOSTS),
    order=st.none() | orders,
    release=st.none() | digests,
    reason=st.text(),
    preparation=st.none()
    | st.builds(Preparation, st.dictionaries(st.text(), json_values), st.just((Path("a.whl"),))),
    signed=signed,
)


@given(works)
def test_work_survives_json(work: Work) -> None:
    """What an Ansible worker reads is what was written for it, whatever names and settings hold."""
    assert work == work_from_json(json.loads(json.dumps(work_to_json(work))))


def test_half_a_character_in_work_survives_json() -> None:
    """A board is told why it goes back in words that another board may have chosen."""
    work = Work(BOARD, Goal.REVERTED, 300.0, KNOWN_HOSTS, reason="it said \ud800")

    assert work == work_from_json(json.loads(json.dumps(work_to_json(work))))


def test_an_order_leaves_without_the_way_back() -> None:
    """That a board may go back is for whoever sends it back, and no worker is told before."""
    release = Release({"a": BlobRef("0" * 64, 1)})
    order = Order(BOARD, release, Path("store"), "c0ffee", 60.0, 300.0, undo=Signed("may go back", ""))

    plain = work_to_json(Work(BOARD, Goal.RELEASED, 300.0, KNOWN_HOSTS, order=order))

    assert "may go back" not in json.dumps(plain)


def test_half_a_surrogate_pair_survives_ascii() -> None:
    """A board can put text into its answer that no encoding has; the reply is carried all the same."""
    reply = Reply("luxor-01", ReplyStatus.OK, {"state": "\ud800 \x1b[2J {{ 7 * 7 }}"}, "e", "h")
    text = reply_to_json(reply)

    assert text.isascii()
    assert reply == reply_from_json(text)


@pytest.mark.parametrize("folder", ["plain", "with space", "100%d", "apo'strophe", "umläut"])
def test_ssh_reads_the_path_of_known_hosts(folder: str, tmp_path: Path) -> None:
    """OpenSSH itself takes our options to mean one file of host keys, however its folder is called."""
    path = tmp_path / folder / "known_hosts"
    argv = ["ssh", "-G", "-F", "/dev/null", *host_key_options(path), "192.0.2.11"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    settings = dict(line.split(" ", 1) for line in said)

    assert str(path) == settings["userknownhostsfile"].replace("%%", "%")
    assert "/dev/null" == settings["globalknownhostsfile"]
    assert "true" == settings["stricthostkeychecking"]
    assert "false" == settings["updatehostkeys"]
    assert "yes" == settings["batchmode"]


def test_host_vars_say_how_to_reach_a_board() -> None:
    """Ansible gets exactly what the manifest says of a board, and one private key when one is named."""
    variables = host_vars(BOARD, KNOWN_HOSTS, Path("/keys/id"))
    arguments = shlex.split(variables.pop("ansible_ssh_common_args"))

    assert [*host_key_options(KNOWN_HOSTS), "-o", "IdentitiesOnly=yes"] == arguments
    assert {
        "ansible_host": "192.0.2.11",
        "ansible_port": 2222,
        "ansible_user": "root",
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": "/keys/id",
        "fleetctl_board": "raspberrypi4",
        "fleetctl_model": "reader",
        "fleetctl_root": "/opt/fleetctl",
        "fleetctl_labels": {},
    } == variables


@pytest.mark.parametrize(
    ("name", "expected"),
    [("canary", "canary"), ("site-luxor.2", "site_luxor_2"), ("7up", "_7up"), ("ä", "_")],
)
def test_group_names_suit_ansible(name: str, expected: str) -> None:
    """Ansible warns about groups that are not identifiers; ours are made to be."""
    assert expected == group_name(name)


SSH_WORDS = [
    ("Host key verification failed.", "refused", "is not in known_hosts"),
    (
        "No ED25519 host key is known for 192.0.2.11 and you have requested strict checking.",
        "refused",
        "is not in",
    ),
    (
        "@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\nHost key verification failed.",
        "refused",
        "not the one",
    ),
    ("root@192.0.2.11: Permission denied (publickey).", "refused", "refused our ssh keys"),
    ("Received disconnect: Too many authentication failures", "refused", "refused our ssh keys"),
    ("sudo: a password is required", "refused", "sudo on luxor-01 wants a password"),
    (
        "ssh: connect to host 192.0.2.11 port 2222: Connection refused",
        "unreachable",
        "no connection to 192.0.2.11:2222: Connection refused",
    ),
    (
        "kex_exchange_identification: \x1b[31mread: reset",
        "unreachable",
        "kex_exchange_identification:  [31mread",
    ),
    ("", "unreachable", "ssh said nothing"),
    (
        "Timeout (62s) waiting for privilege escalation prompt: ",
        "timed_out",
        "sudo on luxor-01 did not answer",
    ),
]


@pytest.mark.parametrize(("said", "status", "part"), SSH_WORDS)
def test_words_of_ssh_become_a_status(said: str, status: str, part: str) -> None:
    """What OpenSSH and sudo write tells a board that is off from one where a person has to act."""
    fault = fault_of(said, BOARD, KNOWN_HOSTS)

    assert status == fault.status
    assert part in fault.error
    assert bool(fault.hint) == (fault.status is ReplyStatus.REFUSED)


def test_a_program_that_was_ended_is_no_host_that_is_off() -> None:
    """Ansible says that the host is to be reached over ssh; it was, and our script was ended."""
    said = 'Data could not be sent to remote host "192.0.2.11". Make sure this host can be reached over ssh: '
    ended, lost = (fault_of(said + words, BOARD, KNOWN_HOSTS) for words in ("", "Connection reset by peer"))

    assert ("unreachable", True) == (ended.status, "what ran there was ended" in ended.error)
    assert "journalctl" in ended.hint
    assert "Connection reset by peer" in lost.error


def event(name: str, res: dict[str, Any] | None, host: str = "luxor-01") -> dict[str, Any]:
    return {"event": name, "event_data": {"host": host, "res": res}}


def test_a_reply_inside_a_result_is_taken_as_it_is() -> None:
    """The action plugin's reply counts, whatever Ansible made of the task."""
    reply = Reply("luxor-01", ReplyStatus.OK, {"state": "reverted"})

    assert reply == reply_of(event("runner_on_failed", {"failed": True, "reply": reply_to_json(reply)}), WORK)


@pytest.mark.parametrize(
    ("name", "res", "status", "error"),
    [
        (
            "runner_on_unreachable",
            {"unreachable": True, "msg": "Host key verification failed."},
            "refused",
            "not in",
        ),
        (
            "runner_on_unreachable",
            {"unreachable": True, "msg": "No route to host"},
            "unreachable",
            "No route",
        ),
        ("runner_on_failed", {"failed": True, "msg": "bad\x1b[2J thing"}, "failed", "bad [2J thing"),
        ("runner_on_failed", None, "failed", "Ansible gave no reason"),
        ("runner_on_ok", {"changed": False}, "failed", "Ansible gave no reason"),
    ],
)
def test_results_without_a_reply_are_never_a_success(name: str, res: Any, status: str, error: str) -> None:
    """What Ansible says on its own account is an outage, a refusal or a failure."""
    reply = reply_of(event(name, res), WORK)

    assert reply is not None
    assert status == reply.status
    assert error in reply.error


@pytest.mark.parametrize(
    "other",
    [
        event("runner_on_start", None),
        event("runner_on_ok", {}, host="karnak-07"),
        {"event": "verbose", "stdout": "hello"},
        {"event": "playbook_on_stats", "event_data": {}},
    ],
)
def test_other_events_bring_no_reply(other: dict[str, Any]) -> None:
    """Only results of boards that are waited for count."""
    assert reply_of(other, WORK) is None


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\n",
        b"hello",
        b"[1]",
        b'{"ok": 1}',
        b'{"missing": []}',
        b'{"ok": true, "x": NaN}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_reply_is_a_fault(said: bytes) -> None:
    """Silence, prose and malformed JSON from a board become one printable sentence."""
    with pytest.raises(wire.BoardFault) as caught:
        wire.parse_reply("missing", said)

    assert caught.value.status is ReplyStatus.FAILED
    assert caught.value.error.isprintable()


def test_login_chatter_before_a_reply_is_passed_over() -> None:
    """A login script that prints does not hide the answer after it."""
    assert {"ok": True, "n": 1} == wire.parse_reply("observe", b'Welcome!\n{"ok": true, "n": 1}\n')


@given(st.dictionaries(st.text(), st.text() | st.integers()))
def test_a_reply_is_the_same_however_it_travels(said: dict[str, Any]) -> None:
    """A long one is deflated by the script that was sent; a short one is plain JSON."""
    reply = {**said, "ok": True}
    for text in (json.dumps(reply), json.dumps(reply) + " " * WORTH_FOLDING):
        assert reply == wire.parse_reply("observe", f"Welcome!\n{folded(text)}".encode())


@pytest.mark.parametrize(
    "said", [b"=", b"=x", b"=" + b2a_base64(b"not deflated"), b"=" + b2a_base64(compress(b"[]"))]
)
def test_what_only_looks_deflated_is_no_reply(said: bytes) -> None:
    """Whatever a board sends behind the sign, the answer is one fault."""
    with pytest.raises(wire.BoardFault, match="is not a reply"):
        wire.parse_reply("observe", said)


def test_a_reply_does_not_unfold_without_end() -> None:
    """A few kilobytes that would fill the memory are no reply."""
    bomb = b"=" + b2a_base64(compress(b'{"ok": true, "n": "' + b"0" * (64 << 20) + b'"}'))
    with pytest.raises(wire.BoardFault, match="is not a reply"):
        wire.parse_reply("observe", bomb)


def test_a_refusal_keeps_its_code() -> None:
    """What a board declines is told by code to programs and by sentence to people."""
    with pytest.raises(wire.BoardSaidNo) as caught:
        wire.parse_reply("confirm", b'{"ok": false, "code": "not-pending", "error": "nothing\\u0007 waits"}')

    assert "not-pending" == caught.value.code
    assert "confirm: nothing  waits" == caught.value.error


@given(st.text(), st.integers(1, 50))
def test_printable_is_fit_for_a_terminal(text: str, limit: int) -> None:
    """No text makes `printable` give control characters, line breaks or more than the limit."""
    shown = wire.printable(text, limit)

    assert len(shown) <= limit
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or "\ud800" <= c <= "\udfff" for c in shown)
    assert "\u202e" not in shown
