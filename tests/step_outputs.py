"""The outputs of a step, as GitHub's runner reads them."""


def outputs(text: str) -> dict[str, str]:
    """Values by name, of what a step wrote to the file GITHUB_OUTPUT; a later one replaces an earlier."""
    found = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, _, end = line.partition("<<")
        found[name] = "\n".join(iter(lambda: next(lines), end))
    return found
