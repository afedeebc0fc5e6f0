"""Artifacts of the lock to a remote and back: only what is missing moves, and whatever moved is checked."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from fleetctl.artifact import Artifact, BlobRef, verify_artifact
from fleetctl.errors import BuildError
from fleetctl.lockfile import FleetLock
from fleetctl.remotes.base import Remote, RemoteError
from fleetctl.store import BlobStore, naming, sha256_file

Moved = Callable[[int], object]


class Transfer(Struct, frozen=True):
    """What became of one artifact: files that moved, and their bytes; the others were there already."""

    artifact: Artifact
    moved: tuple[str, ...]
    moved_bytes: int


def artifacts_of(lock: FleetLock) -> list[Artifact]:
    """Every finished artifact of the lock; what is still to be compiled is of use to nobody."""
    return [
        variant.artifact
        for _, model in sorted(lock.models.items())
        for _, variant in sorted(model.variants.items())
        if not variant.pending
    ]


def push(
    artifacts: Iterable[Artifact], store: BlobStore, remote: Remote, moved: Moved, said: Mapping[str, str]
) -> Iterator[Transfer]:
    """Bring what a remote lacks. An artifact is checked whole before a byte of it is sent.

    `said` become annotations, such as the commit of the lock.

    Raises:
        BuildError: a file of an artifact is absent here or was altered.
        RemoteError: the remote cannot be written to.
    """
    for artifact in artifacts:
        verify_artifact(artifact, store)
        lacking = {name: ref for name, ref in artifact.files.items() if not remote.has(ref)}
        for ref in {ref.sha256: ref for ref in lacking.values()}.values():
            remote.write(ref, store.path(ref.sha256))
            moved(ref.size)
        remote.publish(artifact, said)
        yield _transfer(artifact, lacking)


def pull(
    artifacts: Iterable[Artifact], store: BlobStore, remote: Remote, parts: Path, moved: Moved
) -> Iterator[Transfer]:
    """Fetch what the store lacks; a download that broke off lies in `parts` and goes on from there.

    Raises:
        RemoteError: the remote cannot be read, or gives other bytes than a digest says.
    """
    for artifact in artifacts:
        lacking = {name: ref for name, ref in artifact.files.items() if not _is_whole(ref, store)}
        for ref in {ref.sha256: ref for ref in lacking.values()}.values():
            fetch(ref, store, remote, parts / f"{ref.sha256}.part", moved)
        yield _transfer(artifact, lacking)


def missing(artifacts: Iterable[Artifact], remote: Remote) -> list[tuple[Artifact, list[str]]]:
    """Artifacts with the files that a remote lacks; those that it has whole are left out."""
    found = ((each, [name for name, ref in each.files.items() if not remote.has(ref)]) for each in artifacts)
    return [(artifact, names) for artifact, names in found if names]


def _transfer(artifact: Artifact, lacking: dict[str, BlobRef]) -> Transfer:
    sizes = {ref.sha256: ref.size for ref in lacking.values()}
    return Transfer(artifact, tuple(lacking), sum(sizes.values()))


def _is_whole(ref: BlobRef, store: BlobStore) -> bool:
    try:
        store.verify(ref.sha256)
    except BuildError:
        return False
    return True


def fetch(ref: BlobRef, store: BlobStore, remote: Remote, part: Path, moved: Moved) -> None:
    """Have one blob in the store; `part` is where a download lies that broke off.

    Raises:
        RemoteError: as `pull`.
    """
    begun = _begun(ref, part)
    have = _download(ref, remote, part, begun, moved)
    if begun and have >= ref.size and not _is_blob(part, ref, have):
        # What lay here may be what is wrong, of a power cut say: on that nobody is accused. Its bytes were
        # counted already.
        have = _download(ref, remote, part, 0, lambda _: None)
    if not _is_blob(part, ref, have):
        _give_up(ref, remote, part, have)
    store.put(part.read_bytes())
    part.unlink()


def _begun(ref: BlobRef, part: Path) -> int:
    """From which offset on a download goes on."""
    with naming(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
    return have if have < ref.size else 0


def _download(ref: BlobRef, remote: Remote, part: Path, have: int, moved: Moved) -> int:
    """Append what follows the first `have` bytes; returns how many there are then, or came."""
    with naming(part), part.open("ab" if have else "wb") as stream:
        for chunk in remote.read(ref, have):
            have += len(chunk)
            if have > ref.size:
                break
            stream.write(chunk)
            moved(len(chunk))
    return have


def _is_blob(part: Path, ref: BlobRef, have: int) -> bool:
    return have == ref.size and sha256_file(part) == ref.sha256


def _give_up(ref: BlobRef, remote: Remote, part: Path, have: int) -> None:
    if have < ref.size:
        raise RemoteError(
            f"{remote.name}: blob {ref.sha256[:12]} ends after {have} of {ref.size} bytes",
            hint="run again: it goes on from there; if it ends there again, push it from where it was built",
        )
    part.unlink()
    raise RemoteError(
        f"{remote.name} gives other bytes for blob {ref.sha256[:12]} than its name says; they were not kept",
        hint="somebody altered it there: push it again from where it was built",
    )
