"""Module images by the Docker engine: built once for each model and machine, pushed, and known by digest.

Two images: one with Debian, Python and the packages, shared by every module of that machine, and upon it one
layer with what a release carries. A tag in the registry says what an image carries, so whoever comes second,
on whichever machine, builds nothing.
"""

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from fleetctl.errors import FleetError, ToolchainMissing, TransportError
from fleetctl.images.context import context, layer
from fleetctl.images.sbom import NAME as SBOM
from fleetctl.images.sbom import bill
from fleetctl.images.wheels import module_wheels
from fleetctl.store import canonical_json, sha256, sha256_file
from fleetctl.transports.iothub_consignment import Consignment
from fleetctl.transports.iothub_images import Read

CARRIES = "fleetctl-image"  # folder in the image
ROOT = "/opt/fleetctl"
PYTHON = "/opt/venv/bin/python"
USER = 10001
DEFAULT_BASE = "debian:bookworm-slim"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_RUNTIME = "fleetctl/module-runtime"

Say = Callable[[str], None]

_RUNTIME_FILE = """\
FROM {base}
RUN command -v python3 >/dev/null && python3 -c 'import ensurepip' || {{ \\
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \\
      python3 python3-venv && rm -rf /var/lib/apt/lists/*; }}
COPY wheels /tmp/wheels
RUN python3 -m venv /opt/venv \\
 && /opt/venv/bin/python -m pip install --quiet --no-index --no-deps /tmp/wheels/*.whl \\
 && rm -rf /tmp/wheels \\
 && {python} -c 'import numpy, azure.iot.device' \\
 && mkdir -p {root} && chown {user}:{user} {root}
"""

_MODULE_FILE = """\
FROM {runtime}
ADD carried.tar /
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER {user}:{user}
VOLUME {root}
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \\
  CMD ["{python}", "/{carries}/runtime/edge_health.py", "--root", "{root}"]
ENTRYPOINT ["{python}", "/{carries}/runtime/edge_module.py", "--image", "/{carries}", "--root", "{root}"]
"""


class DockerImages:
    """Builds with an engine and pushes to a repository of any OCI registry.

    Args:
        engine: opens a client of the Docker SDK, whenever one is needed.
        repository: such as `registry.example/team/reader`.
        wheelhouse: folder for wheels, kept.
        base: the image with Debian 12 that images are made from, by Debian's name of the processor.
    """

    def __init__(
        self,
        engine: Callable[[], AbstractContextManager[Any]],
        repository: str,
        wheelhouse: Path,
        base: Callable[[str], str] = lambda _: DEFAULT_BASE,
        say: Say = lambda _: None,
    ) -> None:
        self._engine = engine
        self._client: Any = None
        self._repository = repository
        self._wheelhouse = wheelhouse
        self._base = base
        self._say = say

    def ensure(self, consignment: Consignment, read: Read, machine: str) -> str:
        """Have the image in the registry; gives the reference that pins it.

        Raises:
            TransportError: the registry does not take it, or does not answer.
            FleetError: it could not be built; says why.
        """
        architecture = _ARCHITECTURES.get(machine)
        if architecture is None:
            raise FleetError(f"there are no module images for {machine}", hint="IoT Edge wants 64 bits")
        tag = f"{consignment.image_digest[:24]}-{architecture}"
        with self._engine() as self._client:
            known = self._pushed(tag)
            if known is None:
                self._build(consignment, read, machine, tag)
                known = self._push(tag)
        return f"{self._repository}@{known}"

    def _pushed(self, tag: str) -> str | None:
        """The digest of the image that the registry has under that tag."""
        from docker.errors import APIError, NotFound

        try:
            return str(self._client.images.get_registry_data(f"{self._repository}:{tag}").id)
        except NotFound:
            return None
        except APIError as error:
            if "manifest unknown" in str(error.explanation) or "not found" in str(error.explanation):
                return None
            raise self._registry_error(str(error.explanation or error)) from error

    def _build(self, consignment: Consignment, read: Read, machine: str, tag: str) -> None:
        architecture = _ARCHITECTURES[machine]
        wheels = module_wheels(machine, self._wheelhouse)
        runtime = self._runtime(architecture, wheels)
        self._say(f"building the module image {tag}")
        files = {path: read(ref["sha256"]) for path, ref in consignment.files.items()}
        files["image.json"] = canonical_json(consignment.record)
        files[SBOM] = bill(wheels, consignment.files, runtime)
        recipe = _MODULE_FILE.format(runtime=runtime, user=USER, root=ROOT, python=PYTHON, carries=CARRIES)
        self._make(
            context(recipe, {"carried.tar": layer(files, CARRIES)}),
            f"{self._repository}:{tag}",
            architecture,
            labels={
                "org.opencontainers.image.title": "fleetctl module",
                "org.opencontainers.image.revision": str(consignment.terms.get("commit", "")),
                "fleetctl.image": consignment.image_digest,
                "fleetctl.model": str(consignment.files["model/model.tflite"]["sha256"]),
            },
        )

    def _runtime(self, architecture: str, wheels: Mapping[str, Path]) -> str:
        """The image below: another base, recipe or wheel, another name."""
        from docker.errors import ImageNotFound

        base = self._base(architecture)
        recipe = _RUNTIME_FILE.format(base=base, python=PYTHON, root=ROOT, user=USER)
        digests = {name: sha256_file(path) for name, path in wheels.items()}
        name = f"{_RUNTIME}:{architecture}-{sha256(canonical_json([recipe, digests]))[:12]}"
        try:
            self._client.images.get(name)
        except ImageNotFound:
            self._check_base(base, architecture)
            self._say(f"preparing what {architecture} modules run on")
            files = {f"wheels/{file}": path.read_bytes() for file, path in wheels.items()}
            self._make(context(recipe, files), name, architecture, labels={})
        return name

    def _check_base(self, base: str, architecture: str) -> None:
        """A base that is here for another processor would be taken for this one; others are pulled."""
        from docker.errors import ImageNotFound

        try:
            found = self._client.images.get(base).attrs["Architecture"]
        except ImageNotFound:
            return
        if found != architecture:
            raise FleetError(
                f"the image {base} that is here is for {found}, not {architecture}",
                hint=f"`docker pull --platform linux/{architecture} {base}`",
            )

    def _make(self, build: io.BytesIO, name: str, architecture: str, labels: Mapping[str, str]) -> None:
        from docker.errors import BuildError

        try:
            self._client.images.build(
                fileobj=build,
                custom_context=True,
                tag=name,
                labels=dict(labels),
                platform=f"linux/{architecture}",
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            said = "".join(str(line.get("stream", "")) for line in error.build_log)
            if "exec format error" in f"{error}{said}":
                raise ToolchainMissing(
                    f"this machine cannot run {architecture} programs",
                    hint="set up emulation: `apt-get install qemu-user-static binfmt-support`",
                ) from None
            tail = " / ".join(said.split("\n")[-4:]).strip(" /")
            raise FleetError(f"the image {name} could not be made: {tail or error}") from None

    def _push(self, tag: str) -> str:
        self._say(f"pushing {self._repository}:{tag}")
        for line in self._client.images.push(self._repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise self._registry_error(str(line["error"]))
            if digest := (line.get("aux") or {}).get("Digest"):
                return str(digest)
        raise self._registry_error("it did not say under which digest it keeps the image")

    def _registry_error(self, said: str) -> TransportError:
        return TransportError(
            f"the registry of {self._repository} does not take module images: {said.strip()[:200]}",
            hint="look at its address, and sign in with `docker login`",
        )
