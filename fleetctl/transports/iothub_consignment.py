"""What boards have in common: of releases that differ by the board's name only, one image and one text.

This is why the cost of a rollout does not grow with its boards. Pure, but for reading blobs.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from fleetctl.artifact import BlobRef
from fleetctl.device.edge_report import NAME, SCHEMA, filled
from fleetctl.errors import BuildError
from fleetctl.store import BlobStore, canonical_json, sha256
from fleetctl.transports.base import Order

_SMALL = ("config/", "unit/")  # rendered for a board; everything else goes into the image


class Consignment(Struct, frozen=True):
    """An image's files by path, the texts by path, and the terms that go with them."""

    files: Mapping[str, Mapping[str, Any]]  # {"sha256", "size"}
    texts: Mapping[str, str]  # with NAME where a board's name stands
    terms: Mapping[str, Any]  # commit and times

    @property
    def image_digest(self) -> str:
        """Of what the image carries; not the digest that a registry knows it by."""
        return content_digest(self.files)

    @property
    def digest(self) -> str:
        """Of all that boards are told."""
        return sha256(canonical_json({"files": self.files, "texts": self.texts, "terms": self.terms}))

    @property
    def record(self) -> dict[str, Any]:
        """`image.json`, which lies beside the files in an image."""
        return image_record(self.files)

    def desired(self) -> dict[str, Any]:
        """The desired properties of the module."""
        texts = {f"t{n}": {"path": path, "text": text} for n, (path, text) in enumerate(self.texts.items())}
        return {
            "schema": SCHEMA,
            "consignment": self.digest,
            "image": self.image_digest,
            "texts": texts,
            **self.terms,
        }


def content_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the files that an image carries, however it is made."""
    return sha256(canonical_json(files))


def image_record(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """By which a module knows what its image carries."""
    return {"schema": SCHEMA, "digest": content_digest(files), "files": files}


def image_files(refs: Mapping[str, BlobRef]) -> dict[str, Mapping[str, Any]]:
    """Of the files of a release, those that go into an image."""
    return {
        path: {"sha256": ref.sha256, "size": ref.size}
        for path, ref in sorted(refs.items())
        if not path.startswith(_SMALL)
    }


def consign(order: Order) -> Consignment:
    """What `order` has in common with the orders of other boards.

    Raises:
        BuildError: a blob of the release is absent, or altered, or no text.
    """
    blobs = BlobStore(order.blobs)
    files = image_files(order.release.files)
    texts = {
        path: _nameless(_text(path, blobs.get(ref.sha256)), order.board.name)
        for path, ref in sorted(order.release.files.items())
        if path not in files
    }
    times = {"confirm_timeout": order.confirm_timeout, "deadline": order.deadline}
    return Consignment(files, texts, {"commit": order.commit, **times})


def check_whole(order: Order, known: set[str]) -> None:
    """Raise `BuildError` unless every byte of the order's release is here and as its name says.

    Blobs in `known` have been looked at; those that are whole are added.
    """
    blobs = BlobStore(order.blobs)
    for digest in {ref.sha256 for ref in order.release.files.values()} - known:
        blobs.verify(digest)
        known.add(digest)


def consignments(orders: Iterable[Order]) -> dict[str, tuple[Consignment, list[Order]]]:
    """Orders by what they have in common.

    Raises:
        BuildError: as `consign`.
    """
    found: dict[str, tuple[Consignment, list[Order]]] = {}
    for order in orders:
        consignment = consign(order)
        found.setdefault(consignment.digest, (consignment, []))[1].append(order)
    return found


def _text(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BuildError(f"{path} is no text, and cannot go into a twin") from error


def _nameless(text: str, board: str) -> str:
    """The text with NAME for `"board": "<name>"`; as it is where that would not give it back."""
    named = f'"board": {json.dumps(board, ensure_ascii=False)}'
    without = text.replace(named, f'"board": "{NAME}"')
    return without if filled(without, board) == text else text
