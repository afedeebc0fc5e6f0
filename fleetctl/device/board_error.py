"""Why a verb cannot be done, for programs and for people."""

from __future__ import annotations


class BoardError(Exception):
    """A verb cannot be done; `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
