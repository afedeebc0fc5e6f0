"""Whether a board can load a release: what a model file needs, what a board offers, and what to do about it.

    Requirements   what a `.tflite` needs of whoever loads it; recorded in the lock, so a plan opens no file
    Offer          what a board has: as its kind comes, as the manifest says, as the board itself reported
    judge          one against the other: refusals, each with its fix

What no fact speaks against is not refused: the board still has to prove every release.
Sources of the facts are named beside them, and gathered in docs/compatibility.md.
"""
