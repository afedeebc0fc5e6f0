"""What module images are made of: the same files give the same bytes, and the bill names what is inside."""

import io
import json
import tarfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from docker.errors import ImageNotFound

from fleetctl.errors import FleetError
from fleetctl.images.context import context, layer
from fleetctl.images.module_image import DockerImages
from fleetctl.images.sbom import bill
from fleetctl.transports.iothub_consignment import Consignment

FILES = {"runtime/edge_module.py": b"pass", "model/model.tflite": b"a model", "image.json": b"{}"}


def test_the_same_files_give_the_same_layer() -> None:
    """Neither the order of files nor the time of day shows in a layer, nor who made it."""
    made = layer(FILES, "carried")

    assert made == layer(dict(reversed(FILES.items())), "carried")
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        members = tar.getmembers()
    assert {0} == {each.mtime for each in members} | {each.uid for each in members}
    assert {0o444} == {each.mode for each in members if each.isfile()}
    assert "carried" == members[0].name


def test_a_context_has_its_recipe() -> None:
    """What an engine builds from holds the Dockerfile beside the files, however long their names are."""
    name = f"wheels/{'x' * 180}.whl"
    with tarfile.open(fileobj=context("FROM scratch\n", {name: b"wheel"})) as tar:
        assert {"Dockerfile", name} == set(tar.getnames())


def test_the_bill_names_what_is_inside(tmp_path: Path) -> None:
    """Packages with versions, the model and the base are in it, and two bills of one image are equal."""
    wheel = tmp_path / "paho_mqtt-1.6.1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    files = {"model/model.tflite": {"sha256": "ab" * 32, "size": 7}}
    made = bill({wheel.name: wheel}, files, "fleetctl/module-runtime:amd64-0")
    document = json.loads(made)

    found = {each["name"]: each.get("version") for each in document["components"]}
    assert {
        "paho-mqtt": "1.6.1",
        "model.tflite": "ab" * 6,
        "base": "fleetctl/module-runtime:amd64-0",
    } == found
    assert "CycloneDX" == document["bomFormat"]
    assert made == bill({wheel.name: wheel}, files, "fleetctl/module-runtime:amd64-0")


def test_machines_that_iot_edge_does_not_know_are_refused(tmp_path: Path) -> None:
    """There is no image for 32 bits, and no engine is asked for one."""

    def engine() -> None:
        pytest.fail("the engine was asked")

    images = DockerImages(engine, "registry.example/fleet", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(FleetError, match="no module images for armv7l"):
        images.ensure(Consignment({}, {}, {}), lambda _: b"", "armv7l")


def test_a_base_for_another_processor_is_refused(tmp_path: Path) -> None:
    """An image of this machine's processor is not passed off as the board's."""
    here = SimpleNamespace(attrs={"Architecture": "amd64"})

    def get(name: str) -> object:
        if name.startswith("fleetctl/module-runtime"):
            raise ImageNotFound(name)
        return here

    engine = SimpleNamespace(images=SimpleNamespace(get=get))
    images = DockerImages(lambda: nullcontext(engine), "registry.example/fleet", tmp_path)
    images._client = engine
    with pytest.raises(FleetError, match="is for amd64, not arm64") as error:
        images._runtime("arm64", {})

    assert "--platform linux/arm64" in error.value.hint
