"""The service on a board: loads the model of one release and answers on loopback until it is told to stop.

    python serve.py --release DIR

It refuses to start rather than serve something other than what the release says.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import signal
import sys
import threading
import types
from typing import Any, List, Mapping, Sequence

if not __package__:  # a script beside its siblings: their folder is the package (PEP 366)
    __package__ = "fleetctl_device"
    sys.modules[__package__] = types.ModuleType(__package__)
    sys.modules[__package__].__path__ = [os.path.dirname(os.path.realpath(__file__))]
    sys.dont_write_bytecode = True  # a release folder holds what release.json says and nothing else

# Before numpy: its matrices are small here, and threads that wait for each other cost more than they save.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from .allocator import give_memory_back
from .folder import ReleaseFolder, ReleaseRefused
from .http_server import BODY_LIMIT, Server
from .opening import open_model
from .runtime import RuntimeRefused
from .served_model import ServedModel
from .spool import Spool
from .talk import tell


def serve(release: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ReleaseRefused, RuntimeRefused: the release cannot be served as it says.
    """
    give_memory_back()
    folder = ReleaseFolder(release)
    _refuse_code_of_another(folder)
    config = folder.read_json("config/serve.json")
    service = ServedModel(folder, open_model(folder, config))
    server = _listen(config, service)
    asked_to_end: List[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        # No more than a note: what it interrupts may hold a lock, such as that to start a thread under.
        signal.signal(number, lambda number, _: asked_to_end.append(number))
    spool = config.get("spool")
    if isinstance(spool, str) and spool:
        watcher = Spool(spool, service.predict, BODY_LIMIT)
        threading.Thread(target=watcher.watch, args=(service.stopping,), daemon=True).start()
    where = (folder.digest[:12], server.server_name, server.server_port)
    tell(sys.stderr, "serve: release %s on %s:%d" % where)
    while not asked_to_end:
        server.handle_request()
    server.server_close()
    service.stopping.set()
    service.drain()


def _refuse_code_of_another(folder: ReleaseFolder) -> None:
    """`current` may come to name another release while modules are imported, on some boards for seconds."""
    own = os.path.dirname(sys.modules[__package__].__path__[0])
    if own != folder.path and os.path.exists(os.path.join(own, "release.json")):
        raise ReleaseRefused("it was started with the code of another release, %.12s" % os.path.basename(own))


def _listen(config: Mapping[str, Any], service: ServedModel) -> Server:
    host, port = config.get("host", "127.0.0.1"), config.get("port")
    if isinstance(port, bool) or not isinstance(port, int) or not isinstance(host, str):
        raise ReleaseRefused("config/serve.json gives no host and port")
    if not _is_loopback(host):
        raise ReleaseRefused("it listens on this board alone, never on %.60s" % host)
    try:
        return Server(host, port, service)
    except (OSError, OverflowError) as error:
        raise ReleaseRefused("cannot listen on %s:%d: %s" % (host, port, error)) from None


def _is_loopback(host: str) -> bool:
    """Whoever wants others to ask puts something in front that knows who they are."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="serve.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--release", required=True, help="folder of the release")
    chosen = parser.parse_args(argv)
    try:
        serve(chosen.release)
    except (ReleaseRefused, RuntimeRefused) as error:
        tell(sys.stderr, "serve: %s" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
