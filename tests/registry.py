"""An OCI registry on loopback: Debian's docker-registry, where it is installed."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{auth}
"""
_AUTH = "auth: {{htpasswd: {{realm: fleet, path: {path}}}}}\n"


@contextlib.contextmanager
def running_registry(folder: Path, htpasswd: str = "") -> Iterator[str]:
    """`host:port` of a registry of a test's own; `htpasswd` (bcrypt) says whom it lets in."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry here: `apt-get install docker-registry` to run this test")
    folder.mkdir(parents=True, exist_ok=True)
    auth = ""
    if htpasswd:
        (folder / "htpasswd").write_text(htpasswd)
        auth = _AUTH.format(path=folder / "htpasswd")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder / "data", port=port, auth=auth))
    with subprocess.Popen(
        [program, "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError("docker-registry does not answer")
