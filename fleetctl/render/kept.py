"""Releases as they were rendered before, of the very same things: for verbs that change no board.

Rendering is a pure function of boards, artifacts and templates, and of the code that does it. While all of
these are what they were, templates need not be compiled, nor their language imported.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetctl.artifact import Artifact, BlobRef
from fleetctl.manifest.remembered import RELEASES, judge_of, recall_made, remember_made
from fleetctl.manifest.schema import Board, Smoke
from fleetctl.release import Release
from fleetctl.render.sources import read_templates
from fleetctl.store import sha256

MOST = 500  # boards; more of them are rendered faster, on every processor, than read
_JUDGES = ("", "compatibility", "device", "manifest", "render")  # folders of the package that make a release

Wanted = Sequence[tuple[Board, Artifact, Smoke]]
Made = list[tuple[Release, bytes]]  # with the text of its `config/serve.json`


def recall_releases(manifest: Path, key: str) -> Made | None:
    """The releases that were kept under `key`, in the order of what they were rendered for."""
    text = recall_made(str(manifest), RELEASES, key)
    try:
        return None if text is None else _made(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):  # not as it was written
        return None


def keep_releases(manifest: Path, key: str, made: Made) -> None:
    """Keep what was rendered, for `recall_releases`."""
    if len(made) <= MOST:
        remember_made(str(manifest), RELEASES, key, json.dumps(_plain(made), separators=(",", ":")))


def key_of(templates: Path, wanted: Wanted) -> str:
    """What stands for everything that these releases are rendered from.

    Raises:
        ManifestError: as `read_templates`.
    """
    texts = sorted(read_templates(templates).items())
    return sha256(repr((judge_of(_JUDGES), texts, wanted)).encode())


def _plain(made: Made) -> dict[str, Any]:
    """What all of them have is said once: most of a release's files."""
    shared = _shared(release.files for release, _ in made)
    own = [
        [{path: ref for path, ref in _refs(release.files).items() if path not in shared}, config.decode()]
        for release, config in made
    ]
    return {"shared": _refs(shared), "own": own}


def _made(plain: Mapping[str, Any]) -> Made:
    shared = _blobs(plain["shared"])
    return [(Release({**shared, **_blobs(files)}), config.encode()) for files, config in plain["own"]]


def _shared(releases: Iterable[Mapping[str, BlobRef]]) -> dict[str, BlobRef]:
    first, *others = releases
    return {path: ref for path, ref in first.items() if all(each.get(path) == ref for each in others)}


def _refs(files: Mapping[str, BlobRef]) -> dict[str, list[Any]]:
    return {path: [ref.sha256, ref.size] for path, ref in files.items()}


def _blobs(refs: Mapping[str, Any]) -> dict[str, BlobRef]:
    return {path: BlobRef(digest, size) for path, (digest, size) in refs.items()}
