"""The transport for boards `via: iothub`, made of what the manifest and the environment say."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from fleetctl.errors import SigningError, UsageError
from fleetctl.manifest.schema import HubTier, IotHub, Signing, Via
from fleetctl.project import Project
from fleetctl.transports.base import Transport

if TYPE_CHECKING:
    from fleetctl.cli.session import Session
    from fleetctl.desired import Desired
    from fleetctl.plan import Plan
    from fleetctl.remotes.oci import OciRemote

REGISTRY = "FLEETCTL_IOTHUB_REGISTRY"
BASE = "FLEETCTL_IOTHUB_BASE"
TIER, UNITS = "FLEETCTL_IOTHUB_TIER", "FLEETCTL_IOTHUB_UNITS"
LAYERED = "FLEETCTL_IOTHUB_LAYERED"


def open_transport(project: Project, hub: IotHub, environment: Mapping[str, str]) -> Transport:
    """Sign in to the hub.

    Args:
        hub: as `settings` gives it.

    Raises:
        UsageError: neither manifest nor environment says which hub, or where images are kept.
        ToolchainMissing: the SDK is not installed.
    """
    from fleetctl import lockfile
    from fleetctl.report.console import talk
    from fleetctl.transports.iothub import IotHubTransport
    from fleetctl.transports.iothub_client import HubClient
    from fleetctl.transports.iothub_content import Surroundings
    from fleetctl.transports.iothub_images import LockedImages
    from fleetctl.transports.iothub_quota import Hub
    from fleetctl.transports.iothub_signin import sign_in

    who = sign_in(environment, hub.host)
    if not hub.registry:
        raise UsageError(
            "nothing says where module images go",
            hint="write `iothub: {registry: registry.example/team/fleet}` in fleet.yaml, "
            f"or set {REGISTRY}: a repository of any OCI registry",
        )
    lock = lockfile.read(project.lockfile)
    images = LockedImages(lock, hub.registry, images_remote(hub, environment), talk.warn)
    around = Surroundings(is_layered=hub.layered)
    return IotHubTransport(HubClient(who), images, Hub(hub.tier, hub.units), around, say=talk.note)


def refuse_unready(session: "Session", made: "Plan", desired: "Desired") -> None:
    """Stop before anything is touched where boards of a hub cannot be rolled out to.

    Raises:
        SigningError: releases are to be signed.
        OverQuota: the hub has no room for what they need.
        LockStale: an image is still to be made.
    """
    from fleetctl.proposal.quota import hub_cost

    if session.transport.name == "fake" or (cost := hub_cost(made, session.fleet, desired.configs)) is None:
        return
    from fleetctl import lockfile
    from fleetctl.images.fleet_images import demand_images, wanted_images

    touched = [step.board for step in made.steps if step.action.touches]
    if session.fleet.rollout.signing is Signing.REQUIRED:
        _refuse_signing([name for name in touched if session.fleet.boards[name].via is Via.IOTHUB])
    cost.refuse()
    lock = lockfile.read(session.project.lockfile)
    demand_images(wanted_images(session.fleet, lock, touched, desired.renderer), lock)


def _refuse_signing(boards: Sequence[str]) -> None:
    """What would verify comes in the image that a hub's owner chooses: it would prove nothing."""
    names = ", ".join(boards[:5]) + (f" and {len(boards) - 5} more" if len(boards) > 5 else "")
    without = ",".join(f"!{name}" for name in boards[:5])
    raise SigningError(
        f"releases are to be signed, and over IoT Hub no board can verify that: {names}; nothing was changed",
        hint=f"leave them out with --on '{without}', or give them a fleet of their own, and sign its images",
    )


def images_remote(hub: IotHub, environment: Mapping[str, str]) -> "OciRemote":
    """The repository where module images are kept.

    Raises:
        UsageError: half of a sign-in is set.
    """
    from fleetctl.remotes.oci import OciRemote
    from fleetctl.remotes.places import credentials

    return OciRemote(f"oci://{hub.registry}", credentials(environment))


def settings(written: IotHub, environment: Mapping[str, str]) -> IotHub:
    """What the manifest says of the hub, with what the environment says instead: for a lab, or a trial.

    Raises:
        UsageError: a variable holds what the manifest would not take.
    """
    found = written
    if registry := environment.get(REGISTRY, "").strip():
        found = replace(found, registry=_fitting(REGISTRY, registry))
    if base := environment.get(BASE, "").strip():
        found = replace(found, base=_fitting(BASE, base))
    if tier := environment.get(TIER, "").strip():
        found = replace(found, tier=_tier(tier))
    if units := environment.get(UNITS, "").strip():
        found = replace(found, units=_units(units))
    if layered := environment.get(LAYERED, "").strip():
        found = replace(found, layered=_truth(layered))
    return found


def _fitting(name: str, text: str) -> str:
    from fleetctl.manifest.iothub_rules import IMAGE
    from fleetctl.manifest.iothub_rules import REGISTRY as REPOSITORY

    kind = IMAGE if name == BASE else REPOSITORY
    if not kind.matches(text):
        raise UsageError(f"{name} is {text!r}, which is no {kind.what}", hint=kind.hint)
    return text


def _tier(text: str) -> HubTier:
    try:
        return HubTier(text)
    except ValueError:
        raise UsageError(f"{TIER} is {text!r}", hint=f"tiers are {', '.join(HubTier)}") from None


def _units(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 200:
        raise UsageError(f"{UNITS} is {text!r}", hint="how many units the hub has, 1 to 200")
    return int(text)


def _truth(text: str) -> bool:
    if text not in ("0", "1"):
        raise UsageError(f"{LAYERED} is {text!r}", hint="1 where boards have other modules, else 0")
    return text == "1"
