"""What follows a script on standard input: deflated members, as what they were."""

import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetctl.device.loader import Inflated
from fleetctl.transports import wire

members = st.lists(st.binary(max_size=400).map(lambda data: data * 300), max_size=5)


@given(members, st.integers(1, 100_000))
def test_members_come_out_as_one_stream(members: list[bytes], at_once: int) -> None:
    """However much is read at once, all of every member arrives, in order, and then the end."""
    sent = b"".join(map(zlib.compress, members))
    stream = io.BufferedReader(Inflated(io.BufferedReader(io.BytesIO(sent))), at_once)

    assert b"".join(members) == b"".join(iter(lambda: stream.read(at_once), b""))


@given(members, st.binary(max_size=2000))
def test_any_payload_arrives(lines: list[bytes], payload: bytes) -> None:
    """Tar or not, whole or cut short: what a board reads behind the script is what was handed over."""
    for said in (payload, *lines):
        sent = wire.standard_input(b"pass", {}, said)[len(wire.deflated(b"pass")) :]

        assert b"{}\n" + said == Inflated(io.BufferedReader(io.BytesIO(sent))).readall()


def test_a_damaged_member_is_the_end() -> None:
    """A flipped bit or a cut ends the stream, which is shorter than was said: the verb refuses that."""
    sent = zlib.compress(bytes(1000))
    with pytest.raises(EOFError):
        Inflated(io.BufferedReader(io.BytesIO(b"\xff" + sent[1:]))).readall()

    assert len(Inflated(io.BufferedReader(io.BytesIO(sent[:4]))).readall() or b"") < 1000
