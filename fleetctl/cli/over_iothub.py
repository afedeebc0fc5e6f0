"""The transport for boards `via: iothub`, made of what the environment says."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fleetctl.errors import UsageError
from fleetctl.manifest.schema import Board
from fleetctl.project import Project
from fleetctl.transports.base import Transport

if TYPE_CHECKING:
    from fleetctl.transports.iothub_quota import Hub

REGISTRY = "FLEETCTL_IOTHUB_REGISTRY"
BASE = "FLEETCTL_IOTHUB_BASE"
TIER, UNITS = "FLEETCTL_IOTHUB_TIER", "FLEETCTL_IOTHUB_UNITS"
LAYERED = "FLEETCTL_IOTHUB_LAYERED"


def open_transport(project: Project, boards: Sequence[Board], environment: Mapping[str, str]) -> Transport:
    """Sign in to the hub that the environment names.

    Raises:
        UsageError: the environment lacks something, or says it wrongly.
        ToolchainMissing: the SDK is not installed.
    """
    from fleetctl.images.module_board import refuse_accelerated
    from fleetctl.images.module_image import DEFAULT_BASE, DockerImages
    from fleetctl.lab.docker.engine import engine
    from fleetctl.report.console import talk
    from fleetctl.transports.iothub import IotHubTransport
    from fleetctl.transports.iothub_client import HubClient
    from fleetctl.transports.iothub_content import Surroundings
    from fleetctl.transports.iothub_signin import sign_in

    who = sign_in(environment)
    repository = environment.get(REGISTRY, "").strip()
    if not repository:
        raise UsageError(
            "nothing says where module images go",
            hint=f"set {REGISTRY} to a repository of an OCI registry, such as registry.example/team/fleet",
        )
    base = environment.get(BASE, "").strip()
    if not base:
        refuse_accelerated(boards)
    images = DockerImages(
        engine, repository, project.state / "wheelhouse", base=lambda _: base or DEFAULT_BASE, say=talk.step
    )
    around = Surroundings(is_layered=environment.get(LAYERED, "") == "1")
    return IotHubTransport(HubClient(who), images, _size(environment), around, say=talk.note)


def _size(environment: Mapping[str, str]) -> "Hub":
    from fleetctl.transports.iothub_quota import DEPLOYMENTS, Hub

    tier, units = environment.get(TIER, "S1"), environment.get(UNITS, "1")
    if tier not in DEPLOYMENTS:
        raise UsageError(f"{TIER} is {tier!r}", hint=f"tiers are {', '.join(DEPLOYMENTS)}")
    if not units.isdecimal() or int(units) < 1:
        raise UsageError(f"{UNITS} is {units!r}", hint="how many units the hub has, from 1")
    return Hub(tier, int(units))
