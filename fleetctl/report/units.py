"""Numbers and digests as people read them."""


def bytes_text(count: int) -> str:
    """`1.2 MiB`, `14 KiB`, `380 B`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def ms_text(milliseconds: float) -> str:
    """`4.1 ms`, `812 ms`."""
    return f"{milliseconds:.1f} ms" if milliseconds < 100 else f"{milliseconds:.0f} ms"


def short(digest: str | None) -> str:
    """The first eight digits of a digest; `none` where there is none."""
    return digest[:8] if digest else "none"


def plural(count: int, noun: str, many: str = "") -> str:
    """`1 board`, `2 boards`; `many` where the noun takes no plain `s`."""
    return f"{count} {noun}" if count == 1 else f"{count} {many or noun + 's'}"


def duration_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `9 d`."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
