"""The Edge TPU compiler in a container: in Docker's place an engine that runs the fake compiler itself."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_edgetpu_compiler as fake
import pytest
from docker.errors import APIError, ImageNotFound
from docker.errors import BuildError as ImageBuildError
from requests.exceptions import ConnectionError as NoAnswer

from fleetctl.errors import BuildError, ToolchainMissing
from fleetctl.models.edgetpu import container
from fleetctl.models.edgetpu.container import compile_int8


@dataclass
class Engine:
    """As much of a Docker client as is asked for. `program` is run where a container would run it."""

    program: str
    images_here: list[str] = field(default_factory=list)
    fails: Mapping[str, Exception] = field(default_factory=dict)
    built: list[dict[str, Any]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    removed: int = 0

    @property
    def images(self) -> "Engine":
        return self

    @property
    def containers(self) -> "Engine":
        return self

    def get(self, tag: str) -> None:
        if tag not in self.images_here:
            raise ImageNotFound(tag)

    def build(self, **how: Any) -> None:
        self.fail("build")
        self.built.append(how)
        self.images_here.append(how["tag"])

    def create(self, image: str, command: list[str], **how: Any) -> "Container":
        self.fail("create")
        self.created.append({"image": image, **how})
        for host, mount in how["volumes"].items():
            command = [re.sub(f"^{mount['bind']}(?=/|$)", host, word) for word in command]
        return Container(self, [self.program, *command])

    def fail(self, where: str) -> None:
        if where in self.fails:
            raise self.fails[where]


@dataclass
class Container:
    engine: Engine
    command: list[str]
    run: Any = None

    def start(self) -> None:
        self.engine.fail("start")
        self.run = subprocess.run(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def wait(self, timeout: float) -> dict[str, int]:
        assert timeout > 0
        self.engine.fail("wait")
        return {"StatusCode": self.run.returncode}

    def logs(self, **_: Any) -> bytes:
        return bytes(self.run.stdout)

    def remove(self, force: bool) -> None:
        assert force
        self.engine.removed += 1


def test_a_model_is_compiled_in_a_container(tmp_path: Path) -> None:
    """The same answer as without one; the container is gone afterwards."""
    engine = Engine(fake.install(tmp_path, fake.honest(tmp_path)))

    compiled = compile_int8(fake.source(), client=engine)

    assert (2, 3, 14, 2048) == (
        *(compiled.report.mapped, compiled.report.total, compiled.min_runtime, compiled.on_chip),
    )
    assert (1, 1) == (len(engine.created), engine.removed)


def test_the_container_is_shut_off(tmp_path: Path) -> None:
    """No network, no writable root, no capabilities, bounded memory; the model is mounted read-only."""
    engine = Engine(fake.install(tmp_path, fake.honest(tmp_path)))

    compile_int8(fake.source(), client=engine)

    how = engine.created[0]
    assert ("none", True, ["ALL"], ["no-new-privileges"], "linux/amd64") == (
        *(how["network_mode"], how["read_only"], how["cap_drop"], how["security_opt"], how["platform"]),
    )
    assert how["mem_limit"] == how["memswap_limit"] == container.MEMORY
    assert {"/in": "ro", "/out": "rw"} == {mount["bind"]: mount["mode"] for mount in how["volumes"].values()}
    assert how["user"].split(":")[0].isdigit()


def test_the_image_is_built_once(tmp_path: Path) -> None:
    """From the project's Dockerfile, whose digest is part of its name."""
    engine = Engine(fake.install(tmp_path, fake.honest(tmp_path)))

    for _ in range(2):
        compile_int8(fake.source(), client=engine)

    assert [container.tag()] == [how["tag"] for how in engine.built]
    assert (Path(engine.built[0]["path"]) / "Dockerfile").is_file()


def test_the_dockerfile_pins_the_compiler_and_checks_the_key() -> None:
    """Version 16.0 from Google's repository, whose keyring holds keys that are named, and no others."""
    text = (container.IMAGE / "Dockerfile").read_text()

    assert "FROM --platform=linux/amd64 debian:bookworm-slim" in text
    assert "ARG COMPILER_VERSION=16.0" in text
    assert "signed-by=/usr/share/keyrings/coral-edgetpu.gpg" in text
    assert "--export $GOOGLE_KEYS" in text
    assert 3 == len(re.findall(r"\b[0-9A-F]{40}\b", text))
    assert "apt-key add" not in text


def test_the_compiler_in_the_container_names_its_version(tmp_path: Path) -> None:
    """It is part of the lock's toolchain, as that of an installed one."""
    assert fake.VERSION == container.version(Engine(fake.install(tmp_path, "true")))


@pytest.mark.parametrize(
    ("where", "failure", "message"),
    [
        (
            "build",
            ImageBuildError("Unable to locate package edgetpu-compiler", []),
            "Unable to locate package",
        ),
        (
            "create",
            APIError("500 Server Error: no space left on device"),
            "engine .* refused: .*no space left",
        ),
        ("start", NoAnswer("Connection aborted"), "engine does not answer or refused: Connection aborted"),
    ],
)
def test_an_engine_that_fails_is_one_clear_error(
    tmp_path: Path, where: str, failure: Exception, message: str
) -> None:
    """Whatever the SDK raises, the user reads one sentence and what to try; nothing is left behind."""
    engine = Engine(fake.install(tmp_path, fake.honest(tmp_path)), fails={where: failure})

    with pytest.raises(ToolchainMissing, match=message) as refused:
        compile_int8(fake.source(), client=engine)

    assert refused.value.hint
    assert (1 if where == "start" else 0) == engine.removed


def test_a_compiler_that_takes_too_long_is_removed(tmp_path: Path) -> None:
    """The SDK says that with an exception of its HTTP library."""
    engine = Engine(fake.install(tmp_path, "echo busy"), fails={"wait": NoAnswer("Read timed out")})

    with pytest.raises(BuildError, match="took more than 5 s"):
        compile_int8(fake.source(), timeout=5, client=engine)

    assert 1 == engine.removed


def test_a_compiler_that_fails_is_quoted(tmp_path: Path) -> None:
    """Errors of the compiler are told as if it ran here."""
    engine = Engine(fake.install(tmp_path, "echo 'Internal compiler error. Aborting!'; exit 1"))

    with pytest.raises(BuildError, match=r"exit 1.*failed with an internal error"):
        compile_int8(fake.source(), client=engine)


def test_without_an_engine_it_says_so(tmp_path: Path) -> None:
    """It names the other ways to get a model compiled. Asked in its own process: the SDK leaks a socket."""
    ask = (
        "from fleetctl.errors import ToolchainMissing\n"
        "from fleetctl.models.edgetpu import container\n"
        "try: container.version()\n"
        "except ToolchainMissing as error: print(error.message, '|', error.hint)"
    )
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nothing.sock"}

    said = subprocess.run(
        [sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True
    )

    assert said.stdout.startswith("the Docker engine does not answer or refused: ")
    assert "compile: ci" in said.stdout
