"""The folders of docs/board-protocol.md under one root."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional

from .durable import atomic_write, swap_link
from .files import names, read_json

DIGEST = re.compile(r"[0-9a-f]{64}\Z")
LOOK = "look.sh"  # in the folder `state`: what `kept_look.py` keeps


class Board:
    """The folders of docs/board-protocol.md under one root, and the small state files in them."""

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.blobs = os.path.join(self.root, "blobs", "sha256")
        self.begun = os.path.join(self.root, "blobs", "begun")
        self.releases = os.path.join(self.root, "releases")
        self.current_link = os.path.join(self.root, "current")
        self.state = os.path.join(self.root, "state")
        self.snapshots = os.path.join(self.root, "snapshot")
        self.trust = os.path.join(self.root, "trust")

    def make_folders(self) -> None:
        for folder in (self.blobs, self.releases, self.state):
            os.makedirs(folder, exist_ok=True)

    def in_state(self, name: str) -> str:
        return os.path.join(self.state, name)

    def blob(self, digest: str) -> str:
        return os.path.join(self.blobs, digest)

    def release(self, digest: str) -> str:
        return os.path.join(self.releases, digest)

    def has_release(self, digest: str) -> bool:
        return os.path.isfile(os.path.join(self.release(digest), "release.json"))

    @property
    def current(self) -> Optional[str]:
        """Digest of the release that `current` points at; None where it points at nothing of ours."""
        try:
            target = os.readlink(self.current_link)
        except OSError:
            return None
        folder, name = os.path.split(target)
        return name if folder == "releases" and DIGEST.match(name) and self.has_release(name) else None

    @property
    def good(self) -> Optional[str]:
        """Digest of the last confirmed release."""
        try:
            with open(self.in_state("good")) as stream:
                digest = stream.read().strip()
        except (FileNotFoundError, ValueError):
            return None
        return digest if DIGEST.match(digest) else None

    def set_good(self, digest: str) -> None:
        atomic_write(self.in_state("good"), digest.encode() + b"\n")

    def point_at(self, digest: str) -> None:
        swap_link(self.current_link, os.path.join("releases", digest))

    def staged(self) -> List[str]:
        """Digests of the releases that lie here whole, oldest first."""
        found = [name for name in names(self.releases) if DIGEST.match(name) and self.has_release(name)]
        return sorted(found, key=lambda digest: os.stat(self.release(digest)).st_mtime)

    def config(self, digest: str, name: str) -> Dict[str, Any]:
        return read_json(os.path.join(self.release(digest), name))
