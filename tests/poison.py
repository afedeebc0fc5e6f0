"""Secrets that must turn up nowhere, and a search that looks everywhere while and after commands run."""

import base64
import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


@dataclass
class Search:
    """Looks for secrets in folders, in arguments of all processes, and in the environment of some.

    Args:
        secrets: what must not be found, by a name to report it by.
        folders: searched again and again while this is active, for files that do not stay.
        boards: a folder that every process of a board has in its environment or arguments.
        ours: names of secrets that no other program we start may have in its environment either.
        root: a folder that such programs have in their arguments.
    """

    secrets: Mapping[str, bytes]
    folders: Sequence[Path]
    boards: Path
    root: Path
    ours: frozenset[str] = frozenset()
    found: set[str] = field(default_factory=set)  # `secret in place`
    looked_at: set[str] = field(default_factory=set)  # kinds of places, so that a test can see what was seen

    def __post_init__(self) -> None:
        self._forms = {name: forms(secret) for name, secret in self.secrets.items()}
        self._known: dict[Path, tuple[int, int]] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Look at what comes and goes, until the block ends, and once more then."""
        done = threading.Event()

        def watch() -> None:
            while not done.is_set():
                self.look()
                time.sleep(0.02)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.look()

    def look(self) -> None:
        """Once at everything; a file is read again only when it has changed."""
        self.look_at_processes()
        for folder in self.folders:
            for path in walk(folder):
                with contextlib.suppress(OSError):  # it may be gone already
                    about = path.lstat()
                    if not path.is_symlink() and self._known.get(path) != (about.st_mtime_ns, about.st_size):
                        self.look_in(path.read_bytes(), str(path))
                        self._known[path] = (about.st_mtime_ns, about.st_size)
                        self.looked_at.add(f"file {path.name}")

    def look_at_processes(self) -> None:
        """Arguments of every process, and the environment of those that we started or that are a board's."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                arguments = (folder / "cmdline").read_bytes()
                self.look_in(arguments, f"arguments of {arguments[:60]!r}")
                if kind := self._kind(folder, arguments):
                    self.looked_at.add(f"environment of {kind}")
                    environment = (folder / "environ").read_bytes()
                    secrets = self.ours if kind == "a child" else None
                    self.look_in(environment, f"environment of {arguments[:60]!r}", secrets)

    def _kind(self, process: Path, arguments: bytes) -> str:
        """What a process is to us; empty for fleetctl itself, which has the secrets, and for strangers."""
        if int(process.name) == os.getpid() or b"\0fleetctl\0" in arguments:
            return ""
        if b"ansible" in arguments and b"playbook" in arguments:
            return "Ansible"
        if str(self.boards).encode() in arguments + (process / "environ").read_bytes():
            return "a board's process"
        return "a child" if str(self.root).encode() in arguments else ""

    def look_in(self, text: bytes, place: str, only: frozenset[str] | None = None) -> None:
        """Note every secret, or those named, that is in `text`, in any of its forms."""
        for name, shapes in self._forms.items():
            if (only is None or name in only) and any(shape in text for shape in shapes):
                self.found.add(f"{name} in {place}")


def walk(folder: Path) -> Iterator[Path]:
    """Files under a folder that others may be changing."""
    for place, _, files in os.walk(folder, onerror=lambda _: None):
        yield from (Path(place) / name for name in files)


def forms(secret: bytes) -> set[bytes]:
    """A secret as it is, and as programs like to write it down."""
    as_text = secret.decode()
    # Base64 of a text inside another begins anywhere: the middle of it is the same in one of three shifts.
    shifted = {base64.b64encode(b"x" * shift + secret)[4:-4] for shift in range(3)}
    return {
        secret,
        secret.hex().encode(),
        quote(as_text, safe="").encode(),
        repr(secret)[2:-1].encode(),
        *shifted,
    }
