"""Reads a fleetctl manifest as an Ansible inventory: the two never disagree about boards."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: fleetctl
short_description: Boards of a fleetctl manifest
description:
  - Reads C(fleet.yaml), with all that it includes, and offers every board whose writes go through Ansible.
  - Groups are those of the manifest, and one for each kind of board, with characters that Ansible does not
    accept in a group's name replaced by underscores.
  - Host keys are taken from C(known_hosts) beside the manifest and from nowhere else.
options: {}
"""

EXAMPLES = r"""
# ansible-inventory -i inventory/fleet.yaml --list
# ansible-playbook -i inventory/fleet.yaml playbooks/release.yml -l luxor-01
"""


class InventoryModule(BaseInventoryPlugin):
    """Boards from `fleet.yaml`, or from the work file of one run of fleetctl."""

    NAME = "fleetctl"

    def verify_file(self, path: str) -> bool:
        """True for what looks like a manifest or a work file; whether it is valid is said by `parse`."""
        if not super().verify_file(path) or not path.endswith((".yaml", ".yml", ".json")):
            return False
        head = Path(path).read_bytes()[:4096]
        return b"fleetctl/v1" in head or b"fleetctl.work/v1" in head

    def parse(self, inventory, loader, path, cache=True):
        """Fill `inventory` with boards."""
        super().parse(inventory, loader, path, cache)
        if path.endswith(".json"):
            self._add_work(json.loads(Path(path).read_bytes()))
        else:
            self._add_fleet(Path(path))

    def _add_fleet(self, path: Path) -> None:
        from fleetctl.errors import FleetError, ManifestError
        from fleetctl.manifest.loader import load
        from fleetctl.manifest.schema import Via
        from fleetctl.project import Project
        from fleetctl.transports.ansible_inventory import group_name, host_vars

        try:
            fleet = load(path)
        except ManifestError as error:
            raise AnsibleParserError("\n".join(str(problem) for problem in error.problems)) from None
        except FleetError as error:
            raise AnsibleParserError(error.message) from None
        known_hosts = Project(path).known_hosts
        for board in fleet.boards.values():
            if board.via is Via.ANSIBLE:
                self._add_host(
                    board.name, {**host_vars(board, known_hosts), "fleetctl_manifest": str(path.absolute())}
                )
                for group in (*board.groups, board.board.value):
                    self.inventory.add_group(group_name(group))
                    self.inventory.add_child(group_name(group), board.name)

    def _add_work(self, run: dict) -> None:
        from fleetctl.transports.ansible_inventory import host_vars
        from fleetctl.transports.ansible_preload import preload
        from fleetctl.transports.orders import work_from_json

        _end_with_fleetctl()
        works = {name: work_from_json(plain) for name, plain in run["work"].items()}
        preload([work.order for work in works.values() if work.order])
        identity = Path(run["identity"]) if run["identity"] else None
        for name, work in works.items():
            variables = host_vars(work.board, work.known_hosts, identity)
            ours = {"fleetctl_work": json.dumps(run["work"][name]), "fleetctl_ansible": os.getpid()}
            self._add_host(name, {**variables, **ours})

    def _add_host(self, name: str, variables: dict) -> None:
        # Plain strings are data to Ansible: whatever they hold, they are never templated.
        self.inventory.add_host(name)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)


def _end_with_fleetctl() -> None:
    """Let the hang-up of its terminal end Ansible: the other end is held by fleetctl, which is gone then.

    ansible-runner has started Ansible deaf to it.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
