"""From a board and its artifact to the release it gets, a pure function of what both say.

No clock, no environment, and no blob is opened, once templates and runtime are read: the releases of ten
thousand boards cost what differs between them, which is the rendered files.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from fleetctl.artifact import Artifact, BlobRef, verify_artifact
from fleetctl.checked_json import Malformed, parse
from fleetctl.errors import ManifestError, Problem
from fleetctl.manifest.schema import Accelerator, Board, ServiceManager, Smoke
from fleetctl.release import Release
from fleetctl.render.filters import MAX_TEXT
from fleetctl.render.reads import Remembered
from fleetctl.render.sandbox import CompiledTemplate, compile_template
from fleetctl.render.sources import FOLDER, SUFFIX, as_named, board_runtime, read_templates
from fleetctl.store import BlobStore, canonical_json, sha256

SERVE_CONFIG = "config/serve.json"
SERVICE_CONFIG = "config/service.json"
SMOKE_CONFIG = "config/smoke.json"
UNIT_NAME = "fleetctl-serve.service"
UNIT = f"unit/{UNIT_NAME}"

_GENERATED = frozenset({SERVICE_CONFIG, SMOKE_CONFIG})


class Renderer:
    """Templates compiled and runtime hashed once, for any number of boards."""

    def __init__(
        self, templates: Mapping[str, str], runtime: Mapping[str, bytes], *, place: str = FOLDER
    ) -> None:
        """
        Args:
            templates: text by file name, such as `serve.json.j2`.
            runtime: bytes by path in the release, such as `runtime/serve.py`.
            place: the templates' folder, as problems name it.

        Raises:
            ManifestError: every problem of every template.
        """
        self.templates = _compiled(templates, place)
        self._texts = {path: Remembered(made.render, made.reads) for path, made in self.templates.items()}
        self.runtime = dict(runtime)
        self._kept: set[tuple[Path, str]] = set()
        self._runtime_refs = {path: reference(data) for path, data in runtime.items()}

    @classmethod
    def of(cls, folder: Path) -> "Renderer":
        """With the templates of a fleet (`Project.templates`) and the runtime this fleetctl carries."""
        return cls(read_templates(folder), board_runtime(), place=as_named(folder))

    def render(self, board: Board, artifact: Artifact, smoke: Smoke) -> dict[str, bytes]:
        """The files that are made for this board alone: path in the release -> bytes.

        Raises:
            ManifestError: a template failed, or made a `*.json` that is not a JSON object.
        """
        values = {
            "board": _board_values(board),
            "model": {"name": artifact.model, "variant": artifact.variant, "artifact": artifact.digest},
            "config": board.config,
            "labels": board.labels,
        }
        files = {path: self._fill(path, board, values) for path in self.templates}
        files[SERVICE_CONFIG] = _service_config(board.service, board.python)
        budget = smoke.max_p95_ms.get(board.board)
        files[SMOKE_CONFIG] = _smoke_config(smoke.samples, smoke.min_agreement, budget, board.accelerator)
        return files

    def release(self, board: Board, artifact: Artifact, smoke: Smoke) -> Release:
        """The whole release of one board, by digests; its bytes are stored by `keep`."""
        return self.assemble(artifact, self.render(board, artifact, smoke))

    def keep(self, board: Board, artifact: Artifact, smoke: Smoke, store: BlobStore) -> Release:
        """The release of one board, with all its bytes in `store`, each checked: ready to be sent.

        Raises:
            BuildError: a file of the artifact is absent or was altered.
        """
        self._keep_shared(artifact, store)
        rendered = self.render(board, artifact, smoke)
        for data in rendered.values():
            store.put(data)
        return self.assemble(artifact, rendered)

    def _keep_shared(self, artifact: Artifact, store: BlobStore) -> None:
        # Boards share artifact and runtime: a thousand orders need them looked at once.
        if (store.root, artifact.digest) not in self._kept:
            verify_artifact(artifact, store)
            for data in self.runtime.values():
                store.put(data)
            self._kept.add((store.root, artifact.digest))

    def assemble(self, artifact: Artifact, rendered: Mapping[str, bytes]) -> Release:
        """The release made of an artifact, the runtime, and what `render` gave for the board."""
        return Release(
            {**self.common(artifact), **{path: reference(data) for path, data in rendered.items()}}
        )

    def common(self, artifact: Artifact) -> dict[str, BlobRef]:
        """The files that every release with this artifact has, whichever board it is for."""
        return {**{f"model/{name}": ref for name, ref in artifact.files.items()}, **self._runtime_refs}

    def _fill(self, path: str, board: Board, values: Mapping[str, Any]) -> bytes:
        try:
            text = self._texts[path](values)
        except ManifestError as error:
            raise ManifestError([_for_board(problem, board) for problem in error.problems]) from None
        return _encoded(self.templates[path].file, text, board)


def _compiled(templates: Mapping[str, str], place: str) -> dict[str, CompiledTemplate]:
    """Templates by the path they render to; every problem of every template is raised at once."""
    compiled, problems = {}, []
    for name, text in sorted(templates.items()):
        path = _destination(name)
        if path in _GENERATED:
            what = f"{path} is made from the manifest, not from a template"
            problems.append(Problem(f"{place}/{name}", 0, 0, "", what, "delete the template"))
            continue
        try:
            compiled[path] = compile_template(f"{place}/{name}", text)
        except ManifestError as error:
            problems.extend(error.problems)
    if problems:
        raise ManifestError(problems)
    return compiled


def _destination(name: str) -> str:
    plain = name.removesuffix(SUFFIX)
    return UNIT if plain == UNIT_NAME else f"config/{plain}"


def _board_values(board: Board) -> dict[str, Any]:
    """What a template can know of a board, as plain data. How it is reached is none of its business."""
    return {
        "name": board.name,
        "kind": board.board.value,
        "groups": list(board.groups),
        "accelerator": board.accelerator.value,
        "service": board.service.value,
        "serve_port": board.serve_port,
        "python": board.python,
        "root": board.root,
    }


# Few of these differ between boards, so most of a large fleet's are remembered.


@lru_cache(maxsize=256)
def _service_config(manager: ServiceManager, python: str) -> bytes:
    return canonical_json({"manager": manager.value, "unit": UNIT_NAME, "python": python})


@lru_cache(maxsize=256, typed=True)  # 60 and 60.0 are equal, and two texts
def _smoke_config(
    samples: int, min_agreement: float, max_p95_ms: float | None, accelerator: Accelerator
) -> bytes:
    return canonical_json(
        {
            "samples": samples,
            "min_agreement": min_agreement,
            "max_p95_ms": max_p95_ms,
            "accelerator": accelerator.value,
        }
    )


@lru_cache(maxsize=1024)
def reference(data: bytes) -> BlobRef:
    """A file's bytes by digest and size."""
    return BlobRef(sha256(data), len(data))


def _for_board(problem: Problem, board: Board) -> Problem:
    return replace(problem, what=f"{problem.what} (rendering for {board.name})")


def _encoded(file: str, text: str, board: Board) -> bytes:
    """The bytes of a rendered file; `*.json` must be a JSON object."""
    try:
        data = text.encode()
        if len(data) > MAX_TEXT:
            raise Malformed(f"what it renders to is over {MAX_TEXT:,} bytes")
        if file.endswith(f".json{SUFFIX}"):
            parse(data).mapping()
    except UnicodeEncodeError:
        what, place = "a value holds half a character (a lone surrogate)", ""
    except Malformed as error:
        what, place = error.what, _place(text, error.line) if error.line else ""
    else:
        return data
    raise ManifestError([_for_board(Problem(file, 0, 0, "", f"{what}{place}"), board)])


def _place(text: str, line: int) -> str:
    """Where in a result something is wrong, with what stands there: nobody else would show a bad result."""
    written = [each.strip() for each in text.splitlines()[:line] if each.strip()]
    return f", line {line} of the result" + (f", at `{written[-1][:80]}`" if written else "")
