"""The health check of an IoT Edge module's container: its service answers, or there is none yet.

python3 edge_health.py --root ROOT
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import List

_PATIENCE_S = 5.0


def main(argv: List[str]) -> int:
    if len(argv) != 2 or argv[0] != "--root":
        sys.stderr.write("usage: edge_health.py --root ROOT\n")
        return 2
    config = os.path.join(argv[1], "current", "config", "serve.json")
    if not os.path.exists(config):
        print("nothing was released here yet")
        return 0
    with open(config, encoding="utf-8") as stream:
        port = json.load(stream)["port"]
    try:
        with urllib.request.urlopen("http://127.0.0.1:%d/healthz" % port, timeout=_PATIENCE_S) as answer:
            print(answer.read(1000).decode("utf-8", "replace"))
    except OSError as error:
        print("the service does not answer: %s" % error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
