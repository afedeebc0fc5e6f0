"""Where things lie in a fleet's repository, all derived from the place of the manifest."""

from pathlib import Path

from msgspec import Struct

DEFAULT_MANIFEST = Path("inventory/fleet.yaml")


class Project(Struct, frozen=True):
    """Folders around `inventory/fleet.yaml`. `root` is the folder that holds `inventory/`.

    `home` is where store and state lie, if not there: what a `commit` says may be read from elsewhere.
    """

    manifest: Path
    home: Path | None = None
    commit: str = ""  # that all of it was read from; empty: the files are as they lie here

    @property
    def inventory(self) -> Path:
        folder = self.manifest.absolute().parent
        return folder.resolve() if folder.name == ".." else folder  # git needs its name

    @property
    def root(self) -> Path:
        return self.inventory.parent

    @property
    def repository(self) -> Path:
        """The folder that git is asked in."""
        return self.home or self.root

    @property
    def decisive(self) -> tuple[str, str]:
        """What releases are made of, as paths below `repository`: the manifest's folder, and the lock."""
        return self.inventory.name, f"{self.artifacts.name}/{self.lockfile.name}"

    @property
    def templates(self) -> Path:
        return self.inventory / "templates"

    @property
    def known_hosts(self) -> Path:
        """Host keys in git, in ssh's own format; the only ones ever trusted."""
        return self.inventory / "known_hosts"

    @property
    def trust(self) -> Path:
        """Public keys in git: whose signature boards are to demand."""
        return self.inventory / "trust"

    @property
    def artifacts(self) -> Path:
        return self.root / "model_artifacts"

    @property
    def lockfile(self) -> Path:
        return self.artifacts / "fleet.lock"

    @property
    def store(self) -> Path:
        return (self.home or self.root) / "model_artifacts" / "store"

    @property
    def state(self) -> Path:
        """Local conveniences that can be lost: journal, locks, the lab."""
        return (self.home or self.root) / ".fleetctl"
