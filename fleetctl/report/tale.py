"""A rollout's tale as Markdown, for a pull request or an email."""

from fleetctl.report.console import markdown_table, markdown_text
from fleetctl.report.units import duration_text, ms_text, plural, short
from fleetctl.tale import BoardTale, Tale, WaveTale


def tale_markdown(tale: Tale) -> str:
    """Waves with their counts and gates, and every board that is not simply verified."""
    outcome = tale.outcome or "not finished"
    head = f"### Rollout of {markdown_text(tale.fleet)}: {markdown_text(outcome)}"
    commit = tale.commit[:12]
    lead = f"{plural(tale.boards, 'board')} to change, commit `{commit if commit.isalnum() else 'none'}`, "
    lead += duration_text(tale.seconds)
    waves = markdown_table(
        ["wave", "boards", "verdicts", "gate"], [_wave_row(wave, tale.outcome) for wave in tale.waves]
    )
    boards = [board for wave in tale.waves for board in wave.boards.values() if board.verdict != "verified"]
    table = markdown_table(["board", "verdict", "release", "p95", "why"], list(map(_board_row, boards)))
    return "\n\n".join([head, lead, *([waves] if tale.waves else []), *([table] if boards else [])])


def _wave_row(wave: WaveTale, outcome: str) -> list[str]:
    counts = ", ".join(
        f"{count} {(verdict or 'at work').replace('_', ' ')}" for verdict, count in wave.counts.most_common()
    )
    before = f"{wave.released_before} released before, watched" if wave.released_before else ""
    waiting = "did not speak" if outcome else "under way"  # as of a shard, whose wave others judge
    gate = f"{wave.decision}: {wave.reason}" if wave.decision else waiting
    return [
        f"{wave.number} {wave.name}",
        str(len(wave.boards)),
        ", ".join(filter(None, [before, counts])),
        gate,
    ]


def _board_row(board: BoardTale) -> list[str]:
    p95 = ms_text(board.p95_ms) if board.p95_ms is not None else ""
    verdict = (board.verdict or "at work").replace("_", " ")
    return [board.board, verdict, short(board.release or None), p95, "; ".join(board.reasons)]
