"""The outputs of a step, as GitHub's runner reads them."""

import re


def outputs(text: str) -> dict[str, str]:
    """Values by name, of what a step wrote to the file GITHUB_OUTPUT; a later one replaces an earlier."""
    found = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, sign, rest = re.fullmatch(r"([^=<]+)(=|<<)(.*)", line).groups()
        found[name] = rest if sign == "=" else "\n".join(iter(lambda: next(lines), rest))
    return found
