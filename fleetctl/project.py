"""Where things lie in a fleet's repository, all derived from the place of the manifest."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_MANIFEST = Path("inventory/fleet.yaml")


@dataclass(frozen=True, slots=True)
class Project:
    """Folders around `inventory/fleet.yaml`. `root` is the folder that holds `inventory/`."""

    manifest: Path

    @property
    def inventory(self) -> Path:
        return self.manifest.absolute().parent

    @property
    def root(self) -> Path:
        return self.inventory.parent

    @property
    def templates(self) -> Path:
        return self.inventory / "templates"

    @property
    def known_hosts(self) -> Path:
        """Host keys in git, in ssh's own format; the only ones ever trusted."""
        return self.inventory / "known_hosts"

    @property
    def artifacts(self) -> Path:
        return self.root / "model_artifacts"

    @property
    def lockfile(self) -> Path:
        return self.artifacts / "fleet.lock"

    @property
    def store(self) -> Path:
        return self.artifacts / "store"

    @property
    def state(self) -> Path:
        """Local conveniences that can be lost: journal, locks, the lab."""
        return self.root / ".fleetctl"
