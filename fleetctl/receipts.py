"""The receipts that boards keep, as they are told of: one for each activation. Pure."""

from typing import Any

from fleetctl.untrusted import mappings


def settled(said: object) -> list[dict[str, Any]]:
    """A board's receipts (untrusted, oldest first) without those that a later one about the same activation
    replaces: a board writes one when it has proved a release, and one when that is settled."""
    receipts = mappings(said)
    following: list[dict[str, Any]] = [*receipts, {}][1:]
    return [
        receipt
        for receipt, after in zip(receipts, following, strict=False)
        if receipt.get("state") != "pending" or after.get("release") != receipt.get("release")
    ]
