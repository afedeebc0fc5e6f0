"""The plan of what is checked out, or of another commit, against what boards said last. Asks nobody anew."""

import tempfile
from pathlib import Path

from fleetctl.commits import Commits, project_at
from fleetctl.dashboard.snapshot import Snapshot
from fleetctl.desired import desired_fleet
from fleetctl.errors import UsageError
from fleetctl.manifest.loader import load
from fleetctl.plan import Plan


def plan_of(snapshot: Snapshot, commit: str) -> Plan:
    """What a rollout of `commit` (empty: of the files here) would change.

    Raises:
        FleetError: that commit is not there, or its fleet is not valid, or its models are not built.
    """
    if not commit:
        if snapshot.desired is None:
            raise UsageError(snapshot.note or "the boards have not been asked yet")
        return snapshot.desired.plan(snapshot.observed)
    project = snapshot.source.project
    resolved = Commits(project).resolve(commit)
    with tempfile.TemporaryDirectory(prefix="fleetctl-plan-") as folder:
        there = project_at(project, resolved, Path(folder), whole=True)
        fleet = load(there.manifest)
        known = [name for name in fleet.boards if name in snapshot.observed]
        desired = desired_fleet(there, fleet, known)
        return desired.plan({name: snapshot.observed[name] for name in known})
