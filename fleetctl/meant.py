"""What a word may have been meant to be, for people with a typing mistake."""

from collections.abc import Iterable


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """`did you mean X?`, or nothing when no name is close."""
    import difflib  # for people with a typing mistake only: start-up counts

    close = difflib.get_close_matches(word, list(names), n=1)
    return f"did you mean `{close[0]}`?" if close else ""
