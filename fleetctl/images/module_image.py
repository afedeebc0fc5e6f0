"""Module images, put together here and pushed by digest: no engine builds them, and nothing of them is run.

Three parts: a base with Debian and Python, a layer with the packages, shared by every module of a processor,
and one with what a release carries. So an image for a Raspberry Pi is made on any machine.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from fleetctl.artifact import BlobRef
from fleetctl.images.base import DEFAULT, Base, Say, find_base
from fleetctl.images.layers import Layer, carried, environment, packed
from fleetctl.images.sbom import NAME as SBOM
from fleetctl.images.sbom import bill
from fleetctl.images.wheels import PYTHON as PYTHON_VERSION
from fleetctl.images.wheels import module_wheels
from fleetctl.lockfile import ModuleImage
from fleetctl.remotes.oci import MANIFEST_TYPE, Manifest, OciRemote
from fleetctl.store import BlobStore, canonical_json, sha256
from fleetctl.transports.iothub_consignment import content_digest, image_record
from fleetctl.transports.iothub_images import Read, platform_of

CARRIES = "fleetctl-image"  # folder in the image
ROOT = "/opt/fleetctl"
VENV = "/opt/venv"
PYTHON = f"{VENV}/bin/python"
USER = 10001
_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_SECOND = 1_000_000_000  # durations of a health check are nanoseconds
_EPOCH = "1970-01-01T00:00:00Z"

Files = Mapping[str, Mapping[str, Any]]  # {"sha256", "size"} by path


class ImageMaker(Struct, frozen=True):
    """Makes images and pushes them to one repository.

    `folder` keeps what was fetched and made, and may be lost; `wheelhouse` keeps wheels.
    """

    repository: OciRemote
    folder: Path
    wheelhouse: Path
    base: str = ""  # empty: the default one
    say: Say = lambda _: None
    open_remote: Callable[[str], OciRemote] = OciRemote  # where a base is looked for

    def make(self, files: Files, read: Read, machine: str, commit: str) -> ModuleImage:
        """Make the image that carries these files, and push it.

        Args:
            read: gives the bytes of a blob.
            machine: as `uname -m` names it.
            commit: of the fleet's repository.

        Raises:
            BuildError: the base will not do.
            TransportError: a registry does not answer, or refuses.
            FleetError: there are no images or no wheels for the machine.
        """
        architecture = platform_of(machine).partition("/")[2]
        wheels = module_wheels(machine, self.wheelhouse)
        base = find_base(
            self.base or DEFAULT, architecture, PYTHON_VERSION, self.folder, self.open_remote, self.say
        )
        store = BlobStore(self.folder / "blobs")
        layers = [self._environment(wheels, base, store), self._carried(files, read, wheels, base, store)]
        content = content_digest(files)
        config = _config(base, layers, _labels(files, content, commit))
        refs = [*base.layers, *(layer.ref for layer in layers)]
        return self._push(config, refs, store, f"{content[:24]}-{architecture}", content, base)

    def _environment(self, wheels: Mapping[str, Path], base: Base, store: BlobStore) -> Layer:
        return packed(
            environment(
                [path for _, path in sorted(wheels.items())],
                python=base.python,
                venv=VENV,
                version=PYTHON_VERSION,
                owned={ROOT: USER},
            ),
            store,
        )

    def _carried(
        self, files: Files, read: Read, wheels: Mapping[str, Path], base: Base, store: BlobStore
    ) -> Layer:
        inside = {path: read(ref["sha256"]) for path, ref in files.items()}
        inside["image.json"] = canonical_json(image_record(files))
        inside[SBOM] = bill(wheels, files, base.name, base.packages)
        return packed(carried(inside, CARRIES), store)

    def _push(
        self,
        config: bytes,
        layers: list[BlobRef],
        store: BlobStore,
        tag: str,
        content: str,
        base: Base,
    ) -> ModuleImage:
        self.say(f"pushing {tag} to {self.repository.name}")
        for ref in layers:
            if not self.repository.has(ref):
                self.repository.write(ref, store.path(ref.sha256))
        own = BlobRef(sha256(config), len(config))
        if not self.repository.has(own):
            self.repository.upload(own, io.BytesIO(config))
        body = canonical_json(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor(own, _CONFIG_TYPE),
                "layers": [_descriptor(ref, _LAYER_TYPE) for ref in layers],
            }
        )
        manifest = Manifest(body, MANIFEST_TYPE)
        self.repository.put_manifest(tag, manifest)  # under a tag: registries collect what has none
        size = sum(ref.size for ref in [own, *layers])
        return ModuleImage(content, manifest.digest.removeprefix("sha256:"), base.name, size)


def _config(base: Base, layers: list[Layer], labels: Mapping[str, str]) -> bytes:
    """The image's config: who runs what, and how to see that it is well. Without any time of making."""
    given = base.config.get("config") or {}
    program = [PYTHON, f"/{CARRIES}/runtime/edge_module.py", "--image", f"/{CARRIES}", "--root", ROOT]
    health = [PYTHON, f"/{CARRIES}/runtime/edge_health.py", "--root", ROOT]
    ours: dict[str, Any] = {
        "Env": [*(given.get("Env") or []), "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
        "User": f"{USER}:{USER}",
        "Entrypoint": program,
        "Cmd": None,
        "Volumes": {ROOT: {}},
        "WorkingDir": "/",
        "Labels": {**(given.get("Labels") or {}), **labels},
        "Healthcheck": {
            "Test": ["CMD", *health],
            "Interval": 30 * _SECOND,
            "Timeout": 10 * _SECOND,
            "StartPeriod": 60 * _SECOND,
        },
    }
    return canonical_json(
        {
            "architecture": base.config["architecture"],
            "os": "linux",
            **({"variant": base.config["variant"]} if base.config.get("variant") else {}),
            "created": _EPOCH,
            "config": {**given, **ours},
            "rootfs": {
                "type": "layers",
                "diff_ids": [*base.diff_ids, *(f"sha256:{layer.diff_id}" for layer in layers)],
            },
        }
    )


def _labels(files: Files, content: str, commit: str) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": "fleetctl module",
        "org.opencontainers.image.revision": commit,
        "fleetctl.image": content,
        "fleetctl.model": str(files["model/model.tflite"]["sha256"]),
    }


def _descriptor(ref: BlobRef, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{ref.sha256}", "size": ref.size}
