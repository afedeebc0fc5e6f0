"""The one direction of imports: a module imports only from its own line of LAYERS, or from those above."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "fleetctl"

# From the bottom of the house to its roof. Modules on one line may know each other.
LAYERS = [
    "errors children listed meant",
    "schemas",
    "device",
    "store checked_json paths_as_text leftovers folders untrusted",
    "project revision events blame receipts steering audit commit_signers",
    "commits",
    "artifact release delta",
    "manifest.schema",
    "signing",
    "compatibility",
    "manifest",
    "selector",
    "lockfile",
    "models",
    "build",
    "pruning lock_history",
    "keeping",
    "remotes forge",
    "render",
    "observation",
    "plan",
    "transports.base",
    "observing",
    "smoke",
    "transports",
    "bootstrap",
    "images",
    "gate sharding soak",
    "rollout driver",
    "status drift tale",
    "notifications",
    "webhook",
    "examination",
    "doctor",
    "origins",
    "desired healing",
    "proposal",
    "report",
    "dashboard",
    "lab",
    "cli",
]
ORDER = {name: index for index, line in enumerate(LAYERS) for name in line.split()}

# Imported by what needs them, when it needs them: never at the top of a module.
HEAVY = {
    *("tensorflow", "keras", "sklearn", "matplotlib", "PIL", "tflite", "tflite_runtime", "ai_edge_litert"),
    *("oras", "requests"),
    *("ansible", "ansible_runner", "fabric", "paramiko", "asyncssh", "azure", "docker", "rich"),
    *("aiohttp", "amqtt", "cryptography", "cyclonedx", "lark"),
}


def layer(module: str) -> str | None:
    """The longest entry of LAYERS that holds a module such as `fleetctl.transports.base`."""
    parts = module.split(".")[1:]
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in ORDER), None)


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        if name not in ("fleetctl", "fleetctl.__main__"):
            found.append((name, path))
    return found


def imports(tree: ast.AST) -> list[str]:
    """Dotted names that a module imports, wherever in it."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize(
    ("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_point_one_way(name: str, path: Path) -> None:
    """No module imports from a layer above its own, and every module has a layer."""
    own = layer(name)
    assert own is not None, f"{name} is in no layer: add it to LAYERS"
    ours = [module for module in imports(ast.parse(path.read_text())) if module.startswith("fleetctl.")]
    upward = [module for module in ours if (found := layer(module)) and ORDER[found] > ORDER[own]]

    assert [] == upward


@pytest.mark.parametrize(
    ("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_heavy_packages_are_imported_when_needed(name: str, path: Path) -> None:
    """Start-up never pays for TensorFlow, Ansible, Azure, Docker or the like."""
    top_level = ast.Module([n for n in ast.parse(path.read_text()).body if not isinstance(n, ast.If)], [])
    heavy = {
        module.split(".")[0]
        for node in top_level.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for module in imports(ast.Module([node], []))
    } & HEAVY

    assert set() == heavy, name


def test_board_code_knows_nothing_of_the_controller() -> None:
    """What runs on a board imports nothing of fleetctl but its own neighbours."""
    for path in (PACKAGE / "device").glob("*.py"):
        ours = [m for m in imports(ast.parse(path.read_text())) if m.startswith("fleetctl")]

        assert [] == [module for module in ours if not module.startswith("fleetctl.device")], path.name
