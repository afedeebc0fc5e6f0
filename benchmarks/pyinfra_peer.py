"""pyinfra, in an environment of its own: made here at the first use, never a dependency of fleetctl."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.harness import NotMeasured

PEERS = Path(__file__).with_name("peers")
REQUIREMENTS = PEERS / "pyinfra.txt"  # `uv pip compile --universal --generate-hashes` of pyinfra==3.10.0
PATIENCE = 300.0  # seconds


@dataclass(frozen=True)
class Pyinfra:
    """An installed pyinfra, and a folder to work in."""

    program: Path
    folder: Path

    def play(self, hosts: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring a release to hosts, by name with what pyinfra and the deploy are to know of each."""
        inventory = self.folder / "inventory.py"
        inventory.write_text(f"hosts = {[(name, dict(data)) for name, data in hosts.items()]!r}\n")
        deploy = str(PEERS / "pyinfra_release.py")
        done = _run([str(self.program), "-y", "--sudo", str(inventory), deploy], self.folder)
        if done.returncode:
            raise RuntimeError(f"pyinfra failed: {done.stdout[-800:]}{done.stderr[-800:]}")


def installed(environments: Path, folder: Path) -> Pyinfra:
    """pyinfra in a folder below `environments`, named for what is installed there; to work in `folder`.

    Raises:
        NotMeasured: it is not there, and cannot be fetched.
    """
    home = environments / f"pyinfra-{sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]}"
    if not (home / "whole").exists():
        _install(home)
    return Pyinfra(home / "bin" / "pyinfra", folder)


def _install(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    pip = [str(home / "bin" / "pip"), "--quiet", "--disable-pip-version-check", "--retries", "1"]
    wanted = ["--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS)]
    for argv in ([sys.executable, "-m", "venv", str(home)], [*pip, "install", *wanted]):
        done = _run(argv)
        if done.returncode:
            last = next(
                (line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given"
            )
            raise NotMeasured(f"pyinfra cannot be installed: {last.strip()}")
    (home / "whole").touch()


def _run(argv: list[str], folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise NotMeasured(f"{Path(argv[0]).name} did not end within {PATIENCE:.0f} s") from None
