"""`fleetctl keys`: whose signature boards demand."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleetctl.cli.group import Verbs
from fleetctl.cli.options import DEFAULT_MANIFEST, FileOption, Output, OutputOption
from fleetctl.cli.result import show as show_result
from fleetctl.errors import UsageError
from fleetctl.project import Project

if TYPE_CHECKING:
    from fleetctl.signing.keys import PublicKey

KEYS_SCHEMA = "fleetctl.keys/v1"

app = typer.Typer(
    cls=Verbs,
    help="Make and list the keys that releases are signed with.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="Of the new key, in inventory/trust.")]
PrivateOption = Annotated[
    Path | None,
    typer.Option(
        "--private",
        help="Where the private half goes. Default: ~/.config/fleetctl/FLEET-NAME.pem.",
    ),
]


@app.command()
def new(
    name: NameArgument = "release",
    file: FileOption = DEFAULT_MANIFEST,
    private: PrivateOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make a pair of keys to sign releases with.

    The public half goes into inventory/trust, to be committed. The private half goes to a file outside the
    repository that only you can read, encrypted if FLEETCTL_SIGNING_PASSPHRASE is set.
    """
    from fleetctl.children import SIGNING_KEY, SIGNING_PASSPHRASE
    from fleetctl.manifest.loader import load
    from fleetctl.report.console import talk
    from fleetctl.signing.keys import make_key
    from fleetctl.signing.trusted_keys import add_trusted_key, key_path
    from fleetctl.store import all_or_none, naming

    fleet, project = load(file), Project(file)
    key_path(project.trust, name)
    asked = private or _config() / f"{fleet.name}-{name}.pem"
    with naming(asked):
        secret = _outside(project, asked)
        secret.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = make_key()
    passphrase = os.environ.get(SIGNING_PASSPHRASE, "")
    with all_or_none() as write:  # half a pair would only stand in the way of the next one
        write(secret, key.to_pem(passphrase), mode=0o600)
        public = add_trusted_key(project.trust, name, key.public)
    unprotected = "" if passphrase else f", not encrypted: {SIGNING_PASSPHRASE} is unset"
    talk.done(f"private half: {secret}{unprotected}")
    talk.note(f"keep a copy where it is safe, and set {SIGNING_KEY} to its path to sign with it")
    talk.note(f"commit {os.path.relpath(public)}; `fleetctl bootstrap` then has boards trust it")
    _show({name: key.public}, "", output)


@app.command()
def show(file: FileOption = DEFAULT_MANIFEST, output: OutputOption = Output.TABLE) -> None:
    """List the keys in inventory/trust, and say which of them the environment holds the private half of."""
    from fleetctl.manifest.files import demand_manifest
    from fleetctl.signing.keys import key_from
    from fleetctl.signing.trusted_keys import trusted_keys

    key, trusted = key_from(os.environ), trusted_keys(Project(file).trust)
    if not trusted:
        demand_manifest(file)
    _show(trusted, key.public.fingerprint if key else "", output)


def _show(keys: "dict[str, PublicKey]", own: str, output: Output) -> None:
    data: list[dict[str, Any]] = [
        {"name": name, "fingerprint": key.fingerprint, "here": key.fingerprint == own}
        for name, key in keys.items()
    ]
    show_result(
        output,
        schema=KEYS_SCHEMA,
        data={"keys": data},
        columns=["key", "fingerprint", "private half"],
        rows=[[key["name"], key["fingerprint"], "here" if key["here"] else "elsewhere"] for key in data],
        nothing="inventory/trust holds no key: `fleetctl keys new` makes one",
    )


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "fleetctl"


def _outside(project: Project, path: Path) -> Path:
    """`path`, if a private key may go there."""
    try:
        path = path.expanduser().resolve()
    except RuntimeError as error:  # a user without a home, such as a container's that is a number
        why = str(error).rstrip(".")
        raise UsageError(f"{path} leads nowhere: {why}", hint="name a place with --private") from error
    if path.is_relative_to(project.root.resolve()):
        raise UsageError(f"{path} is inside the repository", hint="name a place outside with --private")
    if path.exists():
        raise UsageError(f"{path} exists", hint="give the key another name, or another place with --private")
    return path
