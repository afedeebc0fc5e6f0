"""What Ansible needs to know of a board: the one mapping from manifest to Ansible's words.

Used for the transport's runs and for plain `ansible-playbook`, so that both reach boards in the same way.
"""

import shlex
from pathlib import Path
from typing import Any

from fleetctl.manifest.schema import Board


def host_vars(board: Board, known_hosts: Path, identity: Path | None = None) -> dict[str, Any]:
    """Ansible's variables for one board. Strings in it are data, never templates."""
    variables: dict[str, Any] = {
        "ansible_host": board.host,
        "ansible_port": board.port,
        "ansible_user": board.user,
        "ansible_become": board.become,
        "ansible_python_interpreter": "/usr/bin/python3",  # for playbooks of your own; ours needs none
        "ansible_ssh_common_args": shlex.join(host_key_options(known_hosts)),
        "fleetctl_board": board.board.value,
        "fleetctl_model": board.model,
        "fleetctl_root": board.root,
        "fleetctl_labels": dict(board.labels),
    }
    if identity is not None:
        # ssh expands percent signs here, too.
        variables["ansible_ssh_private_key_file"] = str(identity).replace("%", "%%")
        variables["ansible_ssh_common_args"] += " -o IdentitiesOnly=yes"
    return variables


def host_key_options(known_hosts: Path) -> list[str]:
    """ssh options that trust the host keys of one file and of nothing else, and never ask."""
    # ssh splits the value at spaces and expands percent signs; the quotes are its own, not a shell's.
    quoted = '"{}"'.format(str(known_hosts.absolute()).replace("%", "%%"))
    return [
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={quoted}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        "-o",
        "UpdateHostKeys=no",
        "-o",
        "BatchMode=yes",
    ]


def group_name(name: str) -> str:
    """A group's name as Ansible accepts it: letters, digits and underscores."""
    cleaned = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    return f"_{cleaned}" if cleaned[:1].isdigit() else cleaned
