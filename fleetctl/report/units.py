"""Numbers and digests as people read them."""


def bytes_text(count: int) -> str:
    """`1.2 MiB`, `14 KiB`, `380 B`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def short(digest: str | None) -> str:
    """The first eight digits of a digest; `none` where there is none."""
    return digest[:8] if digest else "none"


def plural(count: int, noun: str) -> str:
    """`1 board`, `2 boards`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration_text(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `9 d`."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"
