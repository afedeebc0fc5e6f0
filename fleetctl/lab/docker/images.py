"""The images that virtual boards boot: made once for each processor and kind of board, then kept."""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleetctl.children import environment
from fleetctl.errors import FleetError, ToolchainMissing

ARCHITECTURES = ("amd64", "arm64")  # in Debian's names
_RELEASE = "bookworm"
_PACKAGES = (
    *("python3", "python3-venv", "openssh-server", "sudo", "ca-certificates"),
    *("systemd", "systemd-sysv", "dbus", "iproute2"),
)
_BASE = "fleetctl/board-base"
_BOARD = "fleetctl/board"

# What has no meaning in a container and fails or waits there.
_MASKED = (
    *("getty.target", "console-getty.service", "systemd-udevd.service", "systemd-logind.service"),
    *("sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "dev-hugepages.mount"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"),
)

_DOCKERFILE = """\
FROM {base}
RUN command -v sshd >/dev/null && command -v systemctl >/dev/null || {{ \\
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \\
      {packages}; }} \\
 && systemctl mask {masked} \\
 && systemctl enable ssh.service \\
 && rm -f /etc/ssh/ssh_host_* /etc/machine-id && touch /etc/machine-id \\
 && useradd --create-home --shell /bin/bash {user} \\
 && install -d -m 700 -o {user} -g {user} /home/{user}/.ssh \\
 && echo '{user} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010-{user} \\
 && printf 'PasswordAuthentication no\\nPermitRootLogin no\\nMaxStartups 100\\nUseDNS no\\n' \\
      > /etc/ssh/sshd_config.d/lab.conf \\
 && mkdir -p /var/log/journal
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
"""

Say = Callable[[str], None]


def ensure(client: Any, architecture: str, user: str, say: Say) -> str:
    """The image of a board of that processor with that login; made if it is not there.

    Args:
        say: hears a sentence before each step that takes more than a moment.

    Raises:
        ToolchainMissing: neither a registry nor debootstrap can give a base, or emulation is not set up.
        FleetError: the image could not be made; says why.
    """
    from docker.errors import ImageNotFound

    base = f"{_BASE}:{architecture}"
    recipe = _recipe(architecture, user)
    name = image_name(architecture, user)
    try:
        client.images.get(name)
    except ImageNotFound:
        _ensure_base(client, architecture, base, say)
        say(f"preparing the image of {architecture} boards")
        _build(client, recipe, name, architecture)
    return name


def image_name(architecture: str, user: str) -> str:
    """What the image of such a board is called: another recipe, another name."""
    digest = hashlib.sha256(_recipe(architecture, user).encode()).hexdigest()
    return f"{_BOARD}:{architecture}-{user}-{digest[:12]}"


def _recipe(architecture: str, user: str) -> str:
    return _DOCKERFILE.format(
        base=f"{_BASE}:{architecture}", packages=" ".join(_PACKAGES), masked=" ".join(_MASKED), user=user
    )


def own_architecture() -> str:
    """Debian's name of this machine's processor."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "amd64"


def _build(client: Any, recipe: str, name: str, architecture: str) -> None:
    from docker.errors import BuildError

    try:
        client.images.build(fileobj=_context(recipe), custom_context=True, tag=name, rm=True, forcerm=True)
    except BuildError as error:
        said = "".join(str(line.get("stream", "")) for line in error.build_log)
        if "exec format error" in f"{error}{said}":
            raise no_emulation(architecture) from None
        tail = " / ".join(said.split("\n")[-4:]).strip(" /")
        raise FleetError(f"the image of {architecture} boards could not be made: {tail or error}") from None


def no_emulation(architecture: str) -> ToolchainMissing:
    """What to say where programs of that processor do not run."""
    return ToolchainMissing(
        f"this machine cannot run {architecture} programs",
        hint="set up emulation: `apt-get install qemu-user-static binfmt-support`, "
        "or ask for `--arch` of this machine alone",
    )


def _context(recipe: str) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(recipe.encode())
        archive.addfile(entry, io.BytesIO(recipe.encode()))
    stream.seek(0)
    return stream


def _ensure_base(client: Any, architecture: str, name: str, say: Say) -> None:
    from docker.errors import APIError, ImageNotFound

    try:
        client.images.get(name)
        return
    except ImageNotFound:
        pass
    try:
        say(f"pulling debian:{_RELEASE}-slim for {architecture}")
        image = client.images.pull("debian", tag=f"{_RELEASE}-slim", platform=f"linux/{architecture}")
        image.tag(*name.split(":"))
    except APIError as error:
        _bootstrap(client, architecture, name, str(error.explanation or error), say)


def _bootstrap(client: Any, architecture: str, name: str, why: str, say: Say) -> None:
    """Make the base from Debian's packages, where no registry of images can be reached."""
    program = shutil.which("debootstrap")
    if program is None or os.geteuid() != 0:
        raise ToolchainMissing(
            f"debian:{_RELEASE}-slim cannot be pulled ({why.strip()[:200]})",
            hint="let the engine reach a registry, or install debootstrap and run `lab up` as root once",
        )
    say(f"no registry can be reached: making a Debian for {architecture} with debootstrap (1 to 3 minutes)")
    with tempfile.TemporaryDirectory(prefix="fleetctl-lab-") as folder:
        root, archive = Path(folder) / "root", Path(folder) / "root.tar"
        _run(
            [
                *(program, f"--arch={architecture}", "--variant=minbase"),
                *(f"--include={','.join(_PACKAGES)}", _RELEASE, str(root)),
            ]
        )
        _run(["tar", "-C", str(root), "--exclude=./dev/*", "-cf", str(archive), "."])
        repository, tag = name.split(":")
        client.api.import_image(src=str(archive), repository=repository, tag=tag)


def _run(argv: list[str]) -> None:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env=environment(),
    )
    if done.returncode:
        last = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "it said nothing")
        raise FleetError(f"`{Path(argv[0]).name}` failed: {last.strip()}")
