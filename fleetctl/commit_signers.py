"""Whose signatures of commits count, where the environment says so: those people's, and nobody else's.

A pipeline cannot take this from the repository: whoever may push could put themselves into the list.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from fleetctl.children import environment
from fleetctl.errors import UsageError

SIGNERS = "FLEETCTL_COMMIT_SIGNERS"
_KEY = re.compile(r"-----BEGIN PGP PUBLIC KEY BLOCK-----.*?-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)


@contextmanager
def trusting(signers: str) -> Iterator[tuple[list[str], Mapping[str, str]]]:
    """Options and environment with which git trusts `signers` alone; none where it is empty.

    Raises:
        UsageError: a public key of OpenPGP cannot be read, or there is no gpg to read it.
    """
    if not signers.strip():
        yield [], {}
        return
    # gpg may still be putting its sockets away.
    with TemporaryDirectory(prefix="fleetctl-signers-", ignore_cleanup_errors=True) as name:
        allowed = Path(name) / "allowed_signers"
        allowed.write_text(_KEY.sub("", signers))
        for key in _KEY.findall(signers):
            _import(key, name)
        yield ["-c", f"gpg.ssh.allowedSignersFile={allowed}"], {"GNUPGHOME": name}


def _import(key: str, home: str) -> None:
    argv = ["gpg", "--batch", "--quiet", "--homedir", home, "--import"]
    try:
        done = subprocess.run(
            argv,
            input=key.encode(),
            capture_output=True,
            timeout=60,
            check=False,
            env=environment(LC_ALL="C"),
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"gpg cannot read the keys in {SIGNERS}: {error}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UsageError(
            f"{SIGNERS} holds a public key that gpg cannot read: {said[-1] if said else 'it gave no reason'}"
        )
