"""What programs that fleetctl starts may know of its environment: all of it, but for its own secrets.

A hook of git, a package's build or a compiler's plug-in has no business with them, and nothing that these
write down can hold them.
"""

import os

SIGNING_KEY = "FLEETCTL_SIGNING_KEY"  # a PEM, or the path of one
SIGNING_PASSPHRASE = "FLEETCTL_SIGNING_PASSPHRASE"  # noqa: S105 - the name of a variable
WEBHOOK = "FLEETCTL_WEBHOOK"  # an address, which may be all that it takes to write there
WEBHOOK_SECRET = "FLEETCTL_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable

_OURS = (SIGNING_KEY, SIGNING_PASSPHRASE, WEBHOOK, WEBHOOK_SECRET)


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: the caller's without our secrets, and what `more` sets."""
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {**kept, **more}
