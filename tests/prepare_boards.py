"""What tests of docker boards need and must not fetch themselves: images to boot, wheels to send.

python tests/prepare_boards.py amd64 arm64       (as root where no registry of images can be reached)
"""

import sys
from pathlib import Path

from fleetctl.bootstrap.wheelhouse import Platform, fetch
from fleetctl.lab.docker.engine import engine
from fleetctl.lab.docker.images import ensure

WHEELHOUSE = Path(__file__).resolve().parents[1] / ".fleetctl" / "test-wheelhouse"
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
BOOKWORM = {"python": (3, 11), "glibc": (2, 36)}


def main(architectures: list[str]) -> None:
    with engine() as client:
        for architecture in architectures:
            for user in ("pi", "mendel"):
                print(ensure(client, architecture, user, lambda text: print(f"  {text}", flush=True)))
            platform = Platform(MACHINES[architecture], **BOOKWORM)
            print(*fetch(platform, WHEELHOUSE), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
