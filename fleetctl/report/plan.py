"""How a plan looks: in a terminal, and in a pull request. Boards with nothing to do fold into a line."""

from collections.abc import Iterator

from fleetctl.listed import listed
from fleetctl.plan import Action, Plan, Step, WaveSteps
from fleetctl.report.console import markdown_table, table_text
from fleetctl.report.units import bytes_text, plural, short

_COLUMNS = ["wave", "board", "action", "release", "send", "why"]


def plan_text(plan: Plan) -> str:
    """A plan as a table with a closing sentence."""
    rows = list(_rows(plan))
    table = [table_text(_COLUMNS, rows), ""] if rows else []
    fixes = [f"{boards}: {fix}" for fix, boards in _fixes(plan)]
    return "\n".join([*table, *fixes, *([""] if fixes else []), plan_summary(plan)])


def plan_markdown(plan: Plan) -> str:
    """A plan as a pull request comment."""
    rows = list(_rows(plan))
    body = [markdown_table(_COLUMNS, rows), ""] if rows else []
    fixes = list(_fixes(plan))
    advice = [markdown_table(["boards", "what to do"], [[boards, fix] for fix, boards in fixes]), ""]
    return "\n".join(
        [f"### Plan for {plan.fleet}", "", *body, *(advice if fixes else []), plan_summary(plan)]
    )


def plan_summary(plan: Plan) -> str:
    """One sentence: how many boards change, and how many do not."""
    total = sum(1 for _ in plan.steps)
    touched = [step for step in plan.steps if step.action.touches]
    parts = []
    if touched:
        counts = ", ".join(
            f"{plan.count(action)} {action.value}"
            for action in (Action.INSTALL, Action.UPDATE, Action.REPROVE)
            if plan.count(action)
        )
        waves = sum(1 for wave in plan.waves if wave.touched)
        size = bytes_text(sum(step.send_bytes for step in touched))
        change = f"{len(touched)} of {plural(total, 'board')} would change ({counts})"
        parts.append(f"{change} in {plural(waves, 'wave')}, {size} to send")
    if same := plan.count(Action.NOTHING):
        parts.append(f"{plural(same, 'board')} already {'does' if same == 1 else 'do'} what git says")
    if offline := plan.count(Action.DEFER):
        parts.append(f"{plural(offline, 'board')} offline, deferred")
    if blocked := plan.count(Action.BLOCKED):
        parts.append(f"{plural(blocked, 'board')} blocked: see to {'it' if blocked == 1 else 'them'} first")
    if refused := len(plan.refused):
        release = "its release" if refused == 1 else "their releases"
        parts.append(f"{plural(refused, 'board')} refused, unable to load {release}")
    return "; ".join(parts) or "the selection holds no board"


def _fixes(plan: Plan) -> Iterator[tuple[str, str]]:
    """What to do about boards that are refused or refuse us, each advice once, with the boards it is for."""
    boards: dict[str, list[str]] = {}
    for step in (*plan.refused, *plan.barred):
        for fix in step.fixes:
            boards.setdefault(fix, []).append(step.board)
    for fix, names in boards.items():
        yield fix, listed(names, 3)


def _rows(plan: Plan) -> Iterator[list[str]]:
    for wave in plan.waves:
        for step in wave.steps:
            if step.action is not Action.NOTHING:
                yield _row(wave, step)


def _row(wave: WaveSteps, step: Step) -> list[str]:
    name = f"{wave.number} {wave.name}"
    release = (
        f"{short(step.current)} -> {short(step.desired)}" if step.action.touches else short(step.current)
    )
    send = bytes_text(step.send_bytes) if step.action.touches else ""
    return [name, step.board, step.action.value, release, send, "; ".join(step.reasons)]
