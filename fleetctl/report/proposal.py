"""How a proposed change looks: in a terminal, and as a comment on a pull request. Only changes are told."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from fleetctl.errors import FleetError
from fleetctl.listed import listed
from fleetctl.plan import Plan, Step, WaveSteps
from fleetctl.proposal.compare import Proposal
from fleetctl.proposal.dangers import Finding
from fleetctl.proposal.models import Figures, ModelChange
from fleetctl.proposal.quota import HubCost
from fleetctl.report.console import markdown_table, markdown_text, table_text
from fleetctl.report.units import bytes_text, duration_text, plural

PROPOSAL_SCHEMA = "fleetctl.proposal/v1"
COMMENT_BYTES = 60_000  # GitHub refuses a comment over 65,536 characters

_BOARDS = ["wave", "boards", "action", "send", "why"]
_MODELS = ["model", "variant", "top-1", "drop", "size", "on the TPU", "streamed", "boards"]
_SETTINGS = ["setting", "was", "would be"]
_NAMED = 4  # boards that a row lists
_MOST_ROWS = 100


def proposal_text(proposal: Proposal) -> str:
    """A change as tables with a closing sentence."""
    parts = [
        *_danger_lines(proposal),
        _table(_MODELS, _model_rows(proposal.models)),
        _table(_SETTINGS, proposal.settings),
        _table(_BOARDS, _board_rows(proposal.plan)),
        _leaving(proposal.leaving),
        proposal_summary(proposal),
    ]
    return "\n\n".join(part for part in parts if part)


def proposal_markdown(proposal: Proposal, pictures: Mapping[str, Sequence[str]] | None = None) -> str:
    """A change as the comment of a pull request; `pictures` are addresses of plots by model."""
    title = f"### fleetctl: {proposal.fleet}, {_range(proposal)}"
    parts = [
        title,
        *_danger_marks(proposal),
        _error_mark(proposal.error),
        f"**{proposal_summary(proposal)}**",
        _section("Models", _MODELS, _model_rows(proposal.models)),
        _pictures(pictures or {}),
        _section("Settings", _SETTINGS, proposal.settings),
        _section("Boards", _BOARDS, _board_rows(proposal.plan)),
        markdown_text(_leaving(proposal.leaving)),
    ]
    return "\n\n".join(part for part in parts if part)


def refusal_markdown(error: FleetError, head: str) -> str:
    """The comment where a change cannot even be read: every problem, with its place."""
    problems = list(getattr(error, "problems", ()))[:_MOST_ROWS]
    rows = [
        [f"{p.file}:{p.line}:{p.column}" if p.line else p.file, f"{p.path}: {p.what}", p.hint]
        for p in problems
    ]
    table = markdown_table(["where", "what", "try"], rows) if rows else ""
    parts = [f"### fleetctl: refused, {markdown_text(head)}", _error_mark(error), table]
    return "\n\n".join(part for part in parts if part)


def proposal_summary(proposal: Proposal) -> str:
    """One sentence: what changes, and how much stays."""
    steps = list(proposal.plan.steps)
    parts = []
    if steps:
        size = bytes_text(sum(step.send_bytes for step in steps))
        waves = plural(len(proposal.plan.waves), "wave")
        parts.append(f"{plural(len(steps), 'board')} would change in {waves}, {size} to send")
    if hub := proposal.hub:
        parts.append(hub_text(hub))
    if proposal.leaving:
        parts.append(f"{plural(len(proposal.leaving), 'board')} would leave the fleet")
    if proposal.models:
        names = list(dict.fromkeys(change.model for change in proposal.models))
        parts.append(f"{plural(len(names), 'model')} changed")
    if proposal.settings:
        parts.append(f"{plural(len(proposal.settings), 'setting')} changed")
    if proposal.unchanged and not proposal.error:
        keeps = "keeps its release" if proposal.unchanged == 1 else "keep their release"
        parts.append(f"{plural(proposal.unchanged, 'board')} {keeps}")
    if proposal.error:
        parts.append("what boards would get cannot be said")
    return "; ".join(parts) or "nothing changes"


def hub_text(cost: HubCost) -> str:
    """What a change asks of a hub, in a line."""
    asked = f"about {plural(cost.calls, 'call')}, {plural(cost.deployments, 'deployment')}"
    size = f"{cost.hub.tier}, {plural(cost.hub.units, 'unit')}"
    minutes = f"at least {duration_text(60 * cost.minutes)} ({size})"
    return f"IoT Hub: {asked} for {plural(cost.boards, 'board')}, {minutes}"


def _range(proposal: Proposal) -> str:
    return f"`{proposal.base[:12]}` to `{proposal.head[:12]}`"


def _danger_lines(proposal: Proposal) -> list[str]:
    lines = [
        f"{'allowed' if finding.allowed else 'DANGER '}  {finding.danger}: {finding.what}{_reason(finding)}"
        for finding in proposal.dangers
    ]
    lines += [f"note     {text}" for text in _left_over(proposal)]
    return ["\n".join(lines)] if lines else []


def _danger_marks(proposal: Proposal) -> Iterator[str]:
    """GitHub's own boxes: red for what is refused, yellow for what the change allows itself."""
    for kind, title, allowed in (("CAUTION", "Refused", False), ("WARNING", "Allowed by this change", True)):
        found = [finding for finding in proposal.dangers if finding.allowed is allowed]
        if found:
            lines = [f"> - `{f.danger}`: {markdown_text(f.what + _reason(f))}" for f in found[:_MOST_ROWS]]
            yield "\n".join([f"> [!{kind}]", f"> {title}:", *lines])
    if notes := list(_left_over(proposal)):
        yield "\n".join(["> [!NOTE]", *(f"> {markdown_text(note)}" for note in notes)])


def _reason(finding: Finding) -> str:
    if finding.allowed:
        return f" (meant: {finding.reason})"
    return f" (since {finding.commit[:12]})" if finding.commit else ""


def _left_over(proposal: Proposal) -> Iterator[str]:
    for danger in proposal.left_over:
        yield f"rollout.allow has {danger}, which allows nothing in this change: take it out"


def _error_mark(error: FleetError | None) -> str:
    if error is None:
        return ""
    hint = f"\n> {markdown_text(error.hint)}" if error.hint else ""
    return f"> [!CAUTION]\n> {markdown_text(error.message)}{hint}"


def _model_rows(changes: Iterable[ModelChange]) -> Iterator[list[str]]:
    for change in changes:
        old, new = change.before, change.after
        yield [
            change.model,
            change.variant,
            _moved(old, new, lambda f: f"{100 * f.top1:.1f} %"),
            _moved(old, new, lambda f: f"{100 * f.drop:+.1f}"),
            _moved(old, new, lambda f: bytes_text(f.size)),
            _moved(old, new, _on_tpu),
            _moved(old, new, lambda f: "" if f.off_chip is None else bytes_text(f.off_chip)),
            str(change.boards),
        ]


def _on_tpu(figures: Figures) -> str:
    if figures.pending:
        return "not compiled yet"
    return "" if figures.tpu_ops is None else f"{100 * figures.tpu_ops:.1f} %"


def _moved(old: Figures | None, new: Figures | None, show: Callable[[Figures], str]) -> str:
    before = show(old) if old else "none"
    after = show(new) if new else "none"
    return after if before == after else f"{before or '-'} -> {after or '-'}"


def _board_rows(plan: Plan) -> Iterator[list[str]]:
    """Boards of a wave to which the same happens share a row."""
    for wave in plan.waves:
        alike: dict[tuple[str, str], list[Step]] = {}
        for step in wave.steps:
            alike.setdefault((step.action.value, "; ".join(step.reasons)), []).append(step)
        for (action, why), steps in alike.items():
            yield [
                _wave(wave),
                listed([step.board for step in steps], _NAMED),
                action,
                _send(steps),
                _why(why, steps),
            ]


def _why(why: str, steps: Sequence[Step]) -> str:
    fixes = dict.fromkeys(fix for step in steps for fix in step.fixes)
    return "; ".join([why, *fixes]) if fixes else why


def _wave(wave: WaveSteps) -> str:
    return f"{wave.number} {wave.name}"


def _send(steps: Sequence[Step]) -> str:
    total = sum(step.send_bytes for step in steps)
    return bytes_text(total) if total else ""


def _leaving(boards: Sequence[str]) -> str:
    return f"No longer managed, and left as they are: {listed(boards, _NAMED)}" if boards else ""


def _capped(rows: Iterable[Sequence[str]], columns: int) -> list[Sequence[str]]:
    found = list(rows)
    if len(found) <= _MOST_ROWS:
        return found
    note = f"and {len(found) - _MOST_ROWS:,} more rows: `--output json` has all"
    return [*found[:_MOST_ROWS], [note, *[""] * (columns - 1)]]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = _capped(rows, len(columns))
    return table_text(columns, found) if found else ""


def _section(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    found = _capped(rows, len(columns))
    return f"#### {title}\n\n{markdown_table(columns, found)}" if found else ""


def _pictures(pictures: Mapping[str, Sequence[str]]) -> str:
    shown = "\n".join(
        f"![plot of {model}]({address})" for model, addresses in pictures.items() for address in addresses
    )
    return (
        f"<details><summary>Plots of the changed models</summary>\n\n{shown}\n\n</details>" if shown else ""
    )
