"""The fleet as its page shows it: counted by wave and site, and board by board, a page at a time. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from msgspec import Struct

from fleetctl.manifest.schema import Board, Fleet
from fleetctl.plan import wave_name, waves_of
from fleetctl.status import BoardStatus, Standing
from fleetctl.store import sha256

PAGE = 50  # boards on one page
_DOTS = 48  # boards of a cell that are drawn one by one
_SITES = 30  # rows of the grid; the rest are counted
NO_SITE = "no site"


class Choice(Struct, frozen=True):
    """Which boards the table shows; empty: any."""

    standing: str = ""
    site: str = ""
    wave: int = 0
    text: str = ""  # part of a name, or a glob
    page: int = 1

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Choice":
        """From the query of an address, which may say anything."""

        def whole(key: str) -> int:
            text = query.get(key, "")
            return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0

        return cls(
            standing=query.get("standing", "")[:20],
            site=query.get("site", "")[:256],
            wave=whole("wave"),
            text=query.get("q", "")[:100],
            page=whole("page") or 1,
        )

    def query(self, **changes: object) -> str:
        """As the query of an address, with some of it changed."""
        from urllib.parse import urlencode

        values = {"standing": self.standing, "site": self.site, "wave": self.wave, "q": self.text} | changes
        return urlencode({key: value for key, value in values.items() if value})


class Row(Struct, frozen=True):
    """One board with its place in the fleet."""

    status: BoardStatus
    board: Board
    wave: int
    site: str


class Cell(Struct, frozen=True):
    """The boards of one site in one wave: `dots` are standings, worst first, of as many as are drawn."""

    counts: Counter[str]
    dots: tuple[str, ...]

    @property
    def total(self) -> int:
        return self.counts.total()

    @property
    def bad(self) -> list[tuple[str, int]]:
        """The standings that need somebody, with how many boards have them."""
        return [
            (s.value, self.counts[s.value])
            for s in Standing
            if s is not Standing.HEALTHY and self.counts[s.value]
        ]


class FleetView(Struct, frozen=True):
    """Everything that the page of the fleet shows."""

    name: str
    waves: tuple[tuple[int, str], ...]
    sites: tuple[str, ...]  # every one, for choosing
    grid: tuple[tuple[str, tuple[Cell, ...]], ...]  # site, and a cell for each wave; worst sites first
    more_sites: int
    counts: Counter[str]
    total: int
    choice: Choice
    rows: tuple[Row, ...]  # of this page
    names: tuple[str, ...]  # of every board that is chosen, on whatever page
    pages: int

    @property
    def first(self) -> int:
        """How many of the chosen boards come before this page."""
        return (self.choice.page - 1) * PAGE

    @property
    def chosen(self) -> int:
        return len(self.names)


def names_digest(names: Sequence[str]) -> str:
    """The same for the same boards: whether a choice still is what somebody looked at.

    They change places on a page whenever one of them gets better or worse.
    """
    return sha256("\n".join(sorted(names)).encode())


def fleet_view(fleet: Fleet, statuses: Sequence[BoardStatus], choice: Choice) -> FleetView:
    """The view of a fleet in which every board of `statuses` was asked."""
    waves = waves_of(fleet)
    of_board = {name: number for number, (_, names) in enumerate(waves, 1) for name in names}
    rows = [_row(fleet.boards[s.board], s, of_board) for s in statuses if s.board in fleet.boards]
    chosen = sorted((row for row in rows if _matches(row, choice)), key=lambda row: row.status.standing.rank)
    pages = max(1, -(-len(chosen) // PAGE))
    page = min(max(1, choice.page), pages)
    grid = _grid(rows, len(waves))
    return FleetView(
        name=fleet.name,
        waves=tuple((number, wave_name(wave)) for number, (wave, _) in enumerate(waves, 1)),
        sites=tuple(sorted({row.site for row in rows})),
        grid=tuple(grid[:_SITES]),
        more_sites=max(0, len(grid) - _SITES),
        counts=Counter(row.status.standing.value for row in rows),
        total=len(rows),
        choice=Choice(choice.standing, choice.site, choice.wave, choice.text, page),
        rows=tuple(chosen[(page - 1) * PAGE : page * PAGE]),
        names=tuple(row.board.name for row in chosen),
        pages=pages,
    )


def _row(board: Board, status: BoardStatus, waves: Mapping[str, int]) -> Row:
    return Row(status, board, waves.get(board.name, 0), board.labels.get("site") or NO_SITE)


def _matches(row: Row, choice: Choice) -> bool:
    text = choice.text.strip().lower()
    return (
        choice.standing in ("", row.status.standing.value)
        and choice.site in ("", row.site)
        and choice.wave in (0, row.wave)
        and (not text or text in row.board.name or fnmatchcase(row.board.name, text))
    )


def _grid(rows: Iterable[Row], waves: int) -> list[tuple[str, tuple[Cell, ...]]]:
    """Sites with the worst boards first; among equals by name."""
    by_site: dict[str, list[list[str]]] = {}
    for row in rows:
        cells = by_site.setdefault(row.site, [[] for _ in range(waves)])
        if row.wave:
            cells[row.wave - 1].append(row.status.standing.value)
    grid = [(site, tuple(map(_cell, cells))) for site, cells in by_site.items()]
    return sorted(grid, key=lambda entry: (_badness(entry[1]), entry[0]))


def _cell(standings: Sequence[str]) -> Cell:
    counts = Counter(standings)
    worst_first = [standing.value for standing in Standing for _ in range(counts[standing.value])]
    return Cell(counts, tuple(worst_first[:_DOTS]))


def _badness(cells: Iterable[Cell]) -> tuple[int, ...]:
    """Less is worse."""
    total = Counter[str]()
    for cell in cells:
        total += cell.counts
    return tuple(-total[standing.value] for standing in Standing if standing is not Standing.HEALTHY)
