"""Which release a board goes back to when nobody names one, by the receipts it wrote."""

from __future__ import annotations

from typing import Any, Callable, Iterable, List, Optional

from .layout import DIGEST


def went_back(receipts: Iterable[Any], current: Optional[str]) -> bool:
    """Whether the board runs what it went back to, and confirmed nothing since: asked again, it stays.

    One that was told to go to what it ran already left that, and did not go back.
    """
    kept = [receipt for receipt in receipts if _state(receipt) == "confirmed"]
    left = kept[-1].get("left") if kept else None
    return bool(left) and left != current and kept[-1].get("release") == current


def release_before(
    receipts: List[Any], current: Optional[str], is_here: Callable[[str], bool] = lambda _: True
) -> Optional[str]:
    """The release that was confirmed last before the current one and that nobody went back from.

    Args:
        receipts: of the board, oldest first.
        is_here: whether the board still has a release.
    """
    rejected = {current}
    for receipt in reversed(receipts):
        state, release = _state(receipt), receipt.get("release") if isinstance(receipt, dict) else None
        if state == "reverted" and receipt.get("restored", current) is None:
            return None  # the board was left: what it was taken back for ran on it in another life
        if state != "confirmed" or not isinstance(release, str) or not DIGEST.match(release):
            continue
        if release not in rejected and is_here(release):
            return release
        left = receipt.get("left")
        if isinstance(left, str):  # a board's word: anything
            rejected.add(left)
    return None


def and_why(reasons: Iterable[str], reason: str) -> List[str]:
    """What a receipt says once its release is gone back from for `reason`.

    A controller that judged by the same evidence says again what the board wrote down: once is enough.
    """
    known = list(reasons)
    return known if not reason or "; ".join(known)[: len(reason)] == reason else [*known, reason]


def _state(receipt: Any) -> Optional[str]:
    state = receipt.get("state") if isinstance(receipt, dict) else None
    return state if isinstance(state, str) else None
