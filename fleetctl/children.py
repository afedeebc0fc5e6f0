"""What programs that fleetctl starts may know of its environment: all of it, but for the key that signs.

A hook of git, a package's build or a compiler's plug-in has no business with it, and nothing that they write
down can hold it.
"""

import os

SIGNING_KEY = "FLEETCTL_SIGNING_KEY"  # a PEM, or the path of one
SIGNING_PASSPHRASE = "FLEETCTL_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: the caller's without the key, and what `more` sets."""
    kept = {
        name: value for name, value in os.environ.items() if name not in (SIGNING_KEY, SIGNING_PASSPHRASE)
    }
    return {**kept, **more}
