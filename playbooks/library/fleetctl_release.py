#!/usr/bin/python
"""Documents the action plugin of the same name; nothing here runs, on the controller or on a board."""

DOCUMENTATION = r"""
module: fleetctl_release
short_description: Brings a board to a release, proved
description:
  - Sends the blobs a board lacks, activates the release, judges the board's evidence on the controller, and
    confirms it or has it reverted, in one task over one connection.
  - Nothing needs to be installed on the board but C(python3); the release brings its own runtime.
  - A release that fails its proof is reverted, and the task fails.
options:
  state:
    description: What to bring the board to.
    type: str
    choices: [released, confirmed, reverted, prepared, left]
    default: released
  manifest:
    description:
      - Path of the manifest that says what the board should run. The inventory plugin C(fleetctl) sets it.
    type: path
  release:
    description:
      - Digest of the release to confirm, or to go back to.
      - With O(state=reverted) it may be left out, meaning the release before.
    type: str
  reason:
    description: Why the board goes back; written to its history.
    type: str
    default: ""
  deadline:
    description: Seconds for all that is said to this board; with O(state=released) the manifest sets it.
    type: float
    default: 300
  work:
    description: All of the above as JSON text; how fleetctl itself calls this task.
    type: str
notes:
  - The task keyword C(timeout) cannot be used with this action, which keeps its own deadline.
author:
  - The fleetctl authors
"""

EXAMPLES = r"""
- name: Release what the manifest asks for
  fleetctl_release:
    manifest: "{{ fleetctl_manifest }}"

- name: Go back to the release before
  fleetctl_release:
    state: reverted
    manifest: "{{ fleetctl_manifest }}"
    reason: Doors were read as windows
"""

RETURN = r"""
board_state:
  description: What became of the release on the board.
  returned: when the board answered
  type: str
  sample: confirmed
reasons:
  description: Why the evidence was refused; empty when it was not.
  returned: when a release was judged
  type: list
  elements: str
sent:
  description: Bytes of blobs that were sent.
  returned: with O(state=released)
  type: int
reply:
  description: The whole reply as JSON text, in fleetctl's own form.
  returned: always
  type: str
"""
