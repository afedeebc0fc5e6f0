"""Templates to HTML. What boards and manifests say is escaped, and nothing is fetched from elsewhere."""

import time
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fleetctl.report.units import bytes_text, duration_text, ms_text, plural, short

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fleetctl.report.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        short=short,
        ms=ms_text,
        duration=duration_text,
        bytes=bytes_text,
        plural=plural,
        sign=sign_of,
        clock=_clock,
    )
    return environment


def render(template: str, **values: Any) -> str:
    """The HTML of a template of this package."""
    return _environment().get_template(template).render(**values)


def static(name: str) -> str:
    """The text of a file that pages refer to, such as `style.css`."""
    return files("fleetctl.report.web").joinpath("static", name).read_text("utf-8")


def _clock(seconds: float) -> str:
    """The time of day of a time since 1970, on this machine's clock."""
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def sign_of(word: str) -> str:
    """The sign that stands beside a standing or a verdict, so that colour is never all there is."""
    return _SIGNS.get(word, "·")


_SIGNS = {
    "healthy": "✓",
    "verified": "✓",
    "open": "✓",
    "done": "✓",
    "passed": "✓",
    "strained": "!",
    "pause": "!",
    "paused": "!",
    "inconclusive": "!",
    "offline": "?",
    "deferred": "?",
    "wrong": "✗",
    "fail": "✗",
    "failed": "✗",
    "aborted": "✗",
    "rolled_back": "✗",
    "rollback_failed": "✗",
}
