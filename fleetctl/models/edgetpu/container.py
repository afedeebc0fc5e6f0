"""Google's Edge TPU compiler in a container, for machines that have an engine and not the compiler.

The image is built from the Dockerfile beside this file, once. The compiler is closed source and reads files
that others may have made: it runs without network, capabilities or a writable root, with bounded memory and
processes; it sees the model read-only, and one folder of its own to write to.
"""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetctl.errors import ToolchainMissing
from fleetctl.models.edgetpu import compiler_report
from fleetctl.models.edgetpu.compiler import DEFAULT_TIMEOUT, GRACE, SOURCE, arguments, collect
from fleetctl.models.edgetpu.compiler_result import Compiled
from fleetctl.models.edgetpu.program import MAX_OUTPUT, TIMEOUT, Ended

IMAGE = Path(__file__).with_name("image")
PLATFORM = "linux/amd64"
MEMORY = "4g"  # models that take more take the compiler hours
PROCESSES = 256
_VERSION_PATIENCE = 60.0  # seconds; emulated on another processor it starts slowly
_IN, _OUT = "/in", "/out"


def version(client: Any = None) -> str:
    """The version of the compiler in the container.

    Raises:
        ToolchainMissing: there is no engine, or no image can be built.
    """
    with _engine(client) as engine:
        ended = _run(engine, ["--version"], {}, _VERSION_PATIENCE)
    found = compiler_report.version(ended.output)
    if found is None:
        said = compiler_report.last_line(ended.output)
        raise ToolchainMissing(
            f"the compiler in the container does not say its version: {said}",
            hint=f"remove the image {tag()} and build again",
        )
    return found


def compile_int8(
    tflite: bytes, *, timeout: float = DEFAULT_TIMEOUT, grace: float = GRACE, client: Any = None
) -> Compiled:
    """Compile a fully quantized model in a container, as `compiler.compile_int8` does outside one.

    `client` is a client of the Docker SDK; without one the engine of the environment is used.

    Raises:
        ToolchainMissing: there is no engine, or no image can be built.
        BuildError: as `compiler.compile_int8`.
    """
    with _engine(client) as engine, tempfile.TemporaryDirectory(prefix="fleetctl-edgetpu-") as name:
        given, made = Path(name, "in"), Path(name, "out")
        for folder in (given, made):
            folder.mkdir()
        (given / SOURCE).write_bytes(tflite)
        mounts = {
            str(given): {"bind": _IN, "mode": "ro"},
            str(made): {"bind": _OUT, "mode": "rw"},
        }
        ended = _run(engine, arguments(f"{_IN}/{SOURCE}", _OUT, timeout), mounts, timeout + grace)
        return collect(made, tflite, ended, timeout)


def tag() -> str:
    """The image's name: another Dockerfile makes another image."""
    digest = hashlib.sha256((IMAGE / "Dockerfile").read_bytes()).hexdigest()
    return f"fleetctl-edgetpu-compiler:16.0-{digest[:12]}"


@contextmanager
def _engine(client: Any) -> Iterator[Any]:
    """The engine, with everything its SDK raises turned into one sentence."""
    try:
        import docker
        from docker.errors import BuildError as ImageBuildError
        from docker.errors import DockerException
        from requests.exceptions import RequestException
    except ImportError:
        raise ToolchainMissing(
            "compiling in a container needs the Docker SDK", hint="install it: `pip install docker`"
        ) from None
    try:
        yield client or docker.from_env(timeout=600)
    except ImageBuildError as error:
        raise ToolchainMissing(
            f"the image of the Edge TPU compiler cannot be built: {_last_words(error)}",
            hint=f"try `docker build --platform {PLATFORM} {IMAGE}`; it needs packages.cloud.google.com",
        ) from error
    except (DockerException, RequestException) as error:
        raise ToolchainMissing(
            f"the Docker engine does not answer or refused: {_last_words(error)}",
            hint="start one (`systemctl start docker`), or set `edgetpu: {compile: ci}` for the model",
        ) from error


def _run(engine: Any, command: list[str], mounts: dict[str, dict[str, str]], patience: float) -> Ended:
    from requests.exceptions import ConnectionError as NoAnswer
    from requests.exceptions import Timeout

    container = engine.containers.create(
        _image(engine),
        command,
        volumes=mounts,
        user=f"{os.getuid()}:{os.getgid()}",
        network_mode="none",
        read_only=True,
        tmpfs={"/tmp": "size=256m"},  # noqa: S108 - of the container
        mem_limit=MEMORY,
        memswap_limit=MEMORY,
        pids_limit=PROCESSES,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        log_config={"type": "json-file", "config": {"max-size": f"{MAX_OUTPUT}", "max-file": "1"}},
        platform=PLATFORM,
    )
    try:
        container.start()
        try:
            code, cause = container.wait(timeout=patience)["StatusCode"], ""
        except (Timeout, NoAnswer):  # how the SDK says that time is up
            code, cause = None, TIMEOUT
        output = container.logs(tail=10_000)[-MAX_OUTPUT:].decode(errors="replace")
    finally:
        container.remove(force=True)
    return Ended(code, output, cause)


def _image(engine: Any) -> str:
    from docker.errors import ImageNotFound

    try:
        engine.images.get(tag())
    except ImageNotFound:
        engine.images.build(path=str(IMAGE), tag=tag(), platform=PLATFORM, rm=True, pull=True)
    return tag()


def _last_words(error: Exception) -> str:
    """The cause at the end of a chain of wrapped errors, which is the one a person can act on."""
    return " ".join((str(error).rsplit("(", 1)[-1].strip(" )'\"") or str(error)).split())[:200]
