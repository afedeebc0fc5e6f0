"""Which host keys a known_hosts file vouches for, held against OpenSSH's own reading of it."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from fleetctl.errors import TransportError
from fleetctl.transports.known_hosts import HostKey, KnownHosts, address


def a_key(number: int, kind: str = "ssh-ed25519") -> str:
    """A well-formed public key line's last two fields."""
    name = kind.encode()
    blob = len(name).to_bytes(4, "big") + name + (32).to_bytes(4, "big") + bytes([number]) * 32
    return f"{kind} {base64.b64encode(blob).decode()}"


def keys_of(text: str, host: str, port: int = 22) -> list[str]:
    found = KnownHosts(text).keys(host, port)
    return [f"{key.kind} {base64.b64encode(key.blob).decode()}" for key in found]


FILES = {
    "plain": f"luxor {a_key(1)}\nkarnak {a_key(2)}\n",
    "port": f"[luxor]:2222 {a_key(1)}\nluxor {a_key(2)}\n",
    "several names": f"luxor,192.0.2.11,[luxor]:2222 {a_key(1)}\n",
    "case": f"LUXOR {a_key(1)}\n",
    "pattern": f"luxor-* {a_key(1)}\nluxor-? {a_key(2)}\n*.unas {a_key(3)}\n",
    "negation": f"luxor-*,!luxor-7 {a_key(1)}\n",
    "comment": f"# luxor {a_key(1)}\n\nluxor {a_key(2)} a comment\n",
    "brackets are no pattern": f"lux[o]r {a_key(1)}\n",
    "two keys": f"luxor {a_key(1)}\nluxor {a_key(2)}\nluxor {a_key(1)}\n",
}
HOSTS = [("luxor", 22), ("luxor", 2222), ("LUXOR", 22), ("luxor-1", 22), ("luxor-7", 22), ("luxor-12", 22)]
HOSTS += [("a.unas", 22), ("192.0.2.11", 22), ("karnak", 22), ("lux[o]r", 22), ("nobody", 22)]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hashed"])
def test_reads_as_openssh_does(name: str, hashed: bool, tmp_path: Path) -> None:
    """For each host the keys found are those that `ssh-keygen -F` finds, in files plain and hashed."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here to compare with")
    path = tmp_path / "known_hosts"
    path.write_text(FILES[name])
    if hashed:
        subprocess.run(["ssh-keygen", "-H", "-f", path], capture_output=True, check=False)
    for host, port in HOSTS:
        listing = subprocess.run(
            ["ssh-keygen", "-F", address(host, port), "-f", path], capture_output=True, text=True
        )
        lines = (line.split() for line in listing.stdout.splitlines() if not line.startswith("#"))
        expected = list(dict.fromkeys(f"{fields[1]} {fields[2]}" for fields in lines))

        assert expected == keys_of(path.read_text(), host, port), (host, port)


def test_a_revoked_key_is_not_trusted() -> None:
    """A key that any line revokes for a host is not among its keys, though another line vouches for it."""
    text = f"luxor {a_key(1)}\nluxor {a_key(2)}\n@revoked * {a_key(1)}\n"

    assert [a_key(2)] == keys_of(text, "luxor")


def test_nonsense_is_passed_over() -> None:
    """Lines that hold no key vouch for nobody, and do not hide the lines after them."""
    text = f"luxor\nluxor ssh-ed25519\nluxor ssh-ed25519 !!!\n|1|x|y {a_key(3)}\nluxor {a_key(2)}\n"

    assert [a_key(2)] == keys_of(text, "luxor")


def test_a_certificate_authority_is_no_host_key() -> None:
    """`@cert-authority` lines are for certificates, which a board does not show."""
    assert keys_of(f"@cert-authority luxor {a_key(1)}\n", "luxor") == []


def test_a_file_that_is_not_there_knows_nobody(tmp_path: Path) -> None:
    """Before the first key is accepted there is no file, and no board is trusted."""
    assert KnownHosts.read(tmp_path / "known_hosts").keys("luxor", 22) == []


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A folder in the file's place is an error of its own, not a fleet of unknown boards."""
    with pytest.raises(TransportError, match="cannot be read"):
        KnownHosts.read(tmp_path)


def test_large_files_are_searched_by_name() -> None:
    """Ten thousand boards' keys are looked up without comparing every line with every board."""
    text = "".join(f"[192.0.2.1]:{port} {a_key(port % 251)}\n" for port in range(20_000, 30_000))
    known = KnownHosts(text)

    assert all(isinstance(known.keys("192.0.2.1", port)[0], HostKey) for port in range(20_000, 30_000))
