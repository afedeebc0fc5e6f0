"""`iothub` of the manifest: which hub boards are reached over, how large it is, and where images are kept.

Secrets have no place here: keys and passwords stay in the environment.
"""

from fleetctl.manifest.compounds import Field, Record
from fleetctl.manifest.kinds import Boolean, Choice, Text
from fleetctl.manifest.numbers import Integer
from fleetctl.manifest.schema import HubTier, IotHub

HOST = Text(
    "host name", r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?", "such as fleet.azure-devices.net"
)
REGISTRY = Text(
    "repository of an OCI registry",
    r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?/[a-z0-9]+(?:(?:[._/]|__|-+)[a-z0-9]+)*",
    "such as registry.example/team/fleet",
)
IMAGE = Text(
    "name of an image",
    r"[A-Za-z0-9][A-Za-z0-9._:-]*(?:/[A-Za-z0-9][A-Za-z0-9._:-]*)*(?:@sha256:[0-9a-f]{64})?",
    "such as python:3.11-slim-bookworm",
)
UNITS = Integer(1, 200)

IOTHUB = Record(
    "iothub",
    (
        Field("host", HOST, "of the hub, to sign in to with Entra ID; absent: a connection string says it"),
        Field("registry", REGISTRY, "where module images are kept"),
        Field("base", IMAGE, "the image that they are made from; absent: one with Debian 12 and its Python"),
        Field("tier", Choice(HubTier, "tier"), "how large the hub is"),
        Field("units", UNITS, "how many units of that it has"),
        Field("layered", Boolean(), "lay ours upon deployments of other modules, which boards have besides"),
    ),
    build=IotHub,
    defaults=IotHub,
)
