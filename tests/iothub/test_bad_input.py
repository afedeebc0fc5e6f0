"""`fleetctl rollout` over a hub with something wrong: one sentence, a number, and nothing half-deployed."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.iot.hub.models import Device, DeviceCapabilities
from base_images import image, rootfs
from iothub_hub import Clients, answering
from registry import running_registry
from signatures import KEY
from toy_build import ToyStages, toy_photos

from fleetctl import lockfile
from fleetctl.build.builder import build
from fleetctl.cli import main
from fleetctl.images.fleet_images import wanted_images, with_images
from fleetctl.lockfile import ModuleImage
from fleetctl.manifest.loader import load
from fleetctl.project import Project
from fleetctl.remotes.oci import OciRemote
from fleetctl.render.renderer import Renderer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("iothub"),
    pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2 is deprecated"),  # the SDK's own choice
]

MANIFEST = """\
apiVersion: fleetctl/v1
kind: Fleet
metadata: {name: unas}
models:
  toy:
    task: classification
    dataset: {kind: folder, path: photos}
    variants: [int8]
    smoke: {samples: 6}
boards:
  karnak-01: {board: raspberrypi5, model: toy, via: iothub}
iothub: {registry: REGISTRY/team/fleet, tier: S3}
"""


@dataclass
class Fleet:
    """A fleet of one board, ready to roll out, and its hub."""

    project: Project
    clients: Clients
    monkeypatch: pytest.MonkeyPatch

    def register(self, *, edge: bool = True) -> None:
        capabilities = DeviceCapabilities(iot_edge=edge)
        wish = Device(device_id="karnak-01", status="enabled", capabilities=capabilities)
        self.clients.registry.protocol.devices.create_or_update_identity("karnak-01", wish)

    def connect(self) -> None:
        """Have the board's agent be there; it never does anything but say so."""
        agent = self.clients.module("karnak-01", "$edgeAgent")
        answering(agent)
        agent.connect()

    def sign_in(self, connection_string: str) -> None:
        self.monkeypatch.setenv("FLEETCTL_IOTHUB_CONNECTION_STRING", connection_string)

    def edit(self, old: str, new: str) -> None:
        text = self.project.manifest.read_text()
        assert old in text
        self.project.manifest.write_text(text.replace(old, new))

    def push_image(self) -> str:
        """Keep some image in the registry; gives its digest."""
        remote = OciRemote(f"oci://{load(self.project.manifest).iothub.registry}")
        manifest = image(remote, "arm64", rootfs({}))
        remote.put_manifest("some", manifest)
        return manifest.digest.removeprefix("sha256:")

    def lock_image(self, digest: str = "d" * 64) -> None:
        """Have the lock say that the image was made and pushed."""
        fleet, lock = load(self.project.manifest), lockfile.read(self.project.lockfile)
        (wanted,) = wanted_images(fleet, lock, list(fleet.boards), Renderer.of(self.project.templates))
        made = ModuleImage(wanted.content, digest, wanted.base, 1)
        lockfile.write(self.project.lockfile, with_images(lock, [(wanted, made)], ["toy"]))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "fleet"
    toy_photos(folder / "inventory")
    manifest = folder / "inventory" / "fleet.yaml"
    manifest.write_text(MANIFEST)
    build(load(manifest), Project(manifest), stages=ToyStages())
    return folder


@pytest.fixture
def fleet(built: Path, clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    shutil.copytree(built, tmp_path / "fleet")
    monkeypatch.chdir(tmp_path / "fleet")
    made = Fleet(Project(tmp_path / "fleet" / "inventory" / "fleet.yaml"), clients, monkeypatch)
    made.sign_in(clients.hub.connection_string)
    with running_registry(tmp_path / "registry") as registry:
        made.edit("REGISTRY", registry)
        made.lock_image()
        yield made


def wrong_key(fleet: Fleet) -> None:
    fleet.sign_in(
        fleet.clients.hub.connection_string.rpartition("SharedAccessKey=")[0] + "SharedAccessKey=a2V5"
    )


def no_hub(fleet: Fleet) -> None:
    fleet.sign_in("HostName=no-such-hub.invalid;SharedAccessKeyName=o;SharedAccessKey=a2V5")


def broken_string(fleet: Fleet) -> None:
    fleet.sign_in("HostName=hub.invalid;SharedAccessKey=a2V5")


def other_clock(fleet: Fleet) -> None:
    fleet.clients.hub.clock.ahead = 2 * 3600


def unregistered(fleet: Fleet) -> None:
    fleet.clients.registry.delete_device("karnak-01")


def without_edge(fleet: Fleet) -> None:
    unregistered(fleet)
    fleet.register(edge=False)


def no_image_in_the_lock(fleet: Fleet) -> None:
    fleet.connect()
    document = json.loads(fleet.project.lockfile.read_text())
    del document["images"]
    fleet.project.lockfile.write_text(json.dumps(document))


def twin_too_large(fleet: Fleet) -> None:
    fleet.connect()
    fleet.lock_image(fleet.push_image())
    fleet.project.templates.mkdir(exist_ok=True)
    for name in "abc":  # each as long as a rendered file may be, nearly
        (fleet.project.templates / f"{name}.txt.j2").write_text("hieroglyph " * 1400)


def signing_required(fleet: Fleet) -> None:
    fleet.connect()
    trust = fleet.project.trust
    trust.mkdir(parents=True)
    (trust / "release.pem").write_text(KEY.public.pem)
    fleet.monkeypatch.setenv("FLEETCTL_SIGNING_KEY", KEY.to_pem("ankh").decode())
    fleet.monkeypatch.setenv("FLEETCTL_SIGNING_PASSPHRASE", "ankh")
    fleet.edit("boards:", "rollout: {signing: required}\nboards:")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "Begin"]):
        who = ["-c", "user.name=t", "-c", "user.email=t@fleet.invalid", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], check=True, cwd=fleet.project.root)


def no_image_in_the_registry(fleet: Fleet) -> None:
    fleet.connect()


@pytest.mark.parametrize(
    ("spoil", "status", "says", "hint"),
    [
        (wrong_key, 31, "takes neither our key nor our token: wrong, revoked, or expired", "access policies"),
        (no_hub, 30, "there is no hub no-such-hub.invalid", "host name"),
        (broken_string, 2, "has no SharedAccessKeyName", "shared access policies"),
        (other_clock, 31, "are 120 minutes apart", "set this machine's clock"),
        (unregistered, 31, "karnak-01: it is not registered in the hub", "--edge-enabled"),
        (without_edge, 31, "karnak-01: it is registered without edge capability", "register it anew"),
        (
            no_image_in_the_lock,
            11,
            "no module image of toy int8 for linux/arm64",
            "`fleetctl build` makes it",
        ),
        (signing_required, 31, "over IoT Hub no board can verify that: karnak-01", "--on '!karnak-01'"),
        (twin_too_large, 32, "the twin of fleetctl would have", "shorten the templates"),
        (
            no_image_in_the_registry,
            20,
            "does not have the module image sha256:dddddddddddd",
            "`fleetctl build --images`",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_a_number(
    fleet: Fleet,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Fleet], None],
    status: int,
    says: str,
    hint: str,
) -> None:
    """It says what is wrong and what to try, repeats no key, and leaves neither deployment nor tag."""
    fleet.register()
    spoil(fleet)
    code = main(["rollout", "--yes", "--adopt"])
    err = capsys.readouterr().err

    assert (status, 1) == (code, err.count("error: ")), err
    assert says in err
    assert hint in err
    assert "a2V5" not in err
    assert "Traceback" not in err
    assert_nothing_is_deployed(fleet)


def assert_nothing_is_deployed(fleet: Fleet) -> None:
    fleet.clients.hub.clock.ahead = 0.0
    assert [] == fleet.clients.deployments.get_configurations(100)
    boards = [each.device_id for each in fleet.clients.registry.get_devices()]
    assert [] == [name for name in boards if (fleet.clients.registry.get_twin(name).tags or {})]
