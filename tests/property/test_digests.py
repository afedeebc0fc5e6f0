"""Digests are functions of what they name, and of nothing else."""

import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fleetctl.artifact import Artifact, BlobRef, Contract, GoldenAnswer, Tensor
from fleetctl.build.inputs import input_digest, recipe_digest
from fleetctl.checked_json import Node, parse
from fleetctl.lockfile import (
    ClassDrop,
    Compilation,
    FleetLock,
    LockedModel,
    LockedVariant,
    Metrics,
    ModuleImage,
    Pending,
    dumps,
    model_from,
    model_json,
    read,
    write,
)
from fleetctl.manifest.schema import (
    Architecture,
    Board,
    BoardKind,
    FolderDataset,
    Gates,
    Model,
    Qat,
    Quantization,
    RepresentativeSource,
    Smoke,
    Task,
    Training,
    VariantName,
)
from fleetctl.release import RELEASE_SCHEMA, Release
from fleetctl.render.renderer import Renderer
from fleetctl.render.sources import packaged_templates
from fleetctl.store import canonical_json, sha256

relaxed = settings(deadline=None, max_examples=50)  # a busy machine is no counterexample

digests = st.binary(max_size=4).map(sha256)
refs = st.builds(BlobRef, digests, st.integers(0, 1 << 40))
names = st.text("abcdefgh-", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
fractions = st.floats(0, 1)


@relaxed
@given(st.dictionaries(texts, json_values, max_size=6), st.randoms())
def test_canonical_json_forgets_order_only(value: dict[str, Any], random: Any) -> None:
    """Shuffled keys give the same bytes, and the bytes give the value back."""
    items = list(value.items())
    random.shuffle(items)

    assert canonical_json(dict(items)) == canonical_json(value)
    assert parse(canonical_json(value)).value == value


@relaxed
@given(st.dictionaries(names, refs, min_size=1, max_size=5), st.randoms())
def test_a_release_s_digest_forgets_order_only(files: dict[str, BlobRef], random: Any) -> None:
    """Order does not matter; any other name, digest or size does; and the text is canonical JSON."""
    items = list(files.items())
    random.shuffle(items)
    name, ref = items[0]
    release = Release(files)

    listed = {path: {"sha256": ref.sha256, "size": ref.size} for path, ref in files.items()}

    assert release.manifest == canonical_json({"schema": RELEASE_SCHEMA, "files": listed})
    assert Release(dict(items)).digest == release.digest == sha256(release.manifest)
    assert Release({**files, name: replace(ref, size=ref.size + 1)}).digest != release.digest
    assert (
        Release({**files, name: replace(ref, sha256=sha256(b"other than all of four bytes"))}).digest
        != release.digest
    )
    assert Release({key: ref for key, ref in files.items() if key != name}).digest != release.digest
    assert Release({**files, f"{name}+": ref}).digest != release.digest


metrics = st.builds(
    Metrics,
    samples=st.integers(0, 10**6),
    top1=fractions,
    drop=st.floats(-1, 1),
    worst_class=st.none() | st.builds(ClassDrop, texts, st.floats(-1, 1)),
    size=st.integers(0, 1 << 40),
    tpu_ops=st.none() | fractions,
)


edgetpu = st.one_of(
    st.none(),
    st.builds(Pending, fractions),
    st.builds(
        Compilation,
        compiler=texts,
        min_runtime=st.integers(0, 100),
        on_chip=st.integers(0, 1 << 30),
        off_chip=st.integers(0, 1 << 30),
        predicted=fractions,
        disagreements=st.lists(texts, max_size=3).map(tuple),
    ),
)


images = st.builds(ModuleImage, digests, digests, texts, st.integers(0, 1 << 40))


@st.composite
def locks(draw: st.DrawFn) -> FleetLock:
    def variant(model: str, name: str) -> LockedVariant:
        files = {file: draw(refs) for file in ("model.tflite", "contract.json", "golden.npy")}
        return LockedVariant(Artifact(model, name, files), draw(metrics), edgetpu=draw(edgetpu))

    def model(name: str) -> LockedModel:
        variants = {key: variant(name, key) for key in draw(st.sets(names, max_size=3))}
        return LockedModel(draw(digests), draw(st.dictionaries(texts, texts, max_size=3)), variants)

    models = {name: model(name) for name in draw(st.sets(names, max_size=3))}
    platforms = st.dictionaries(st.sampled_from(["linux/amd64", "linux/arm64"]), images, min_size=1)
    variants = st.dictionaries(st.sampled_from(["int8", "float32"]), platforms, min_size=1)
    return FleetLock(models, draw(st.dictionaries(names, variants, max_size=2)))


@relaxed
@given(locks())
def test_a_lock_says_the_same_when_it_is_read_back(lock: FleetLock) -> None:
    """One reader, one writer: what is written is what is read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.lock"
        write(path, lock)
        back = read(path)

    assert back == lock
    turned = FleetLock(dict(reversed(back.models.items())), dict(reversed(back.images.items())))
    assert dumps(turned) == dumps(lock)


@relaxed
@given(locks())
def test_a_model_record_survives_its_own_json(lock: FleetLock) -> None:
    """What a killed build left is what it had made."""
    for name, model in lock.models.items():
        assert model_from(Node(model_json(model)), name) == model


tensors = st.builds(
    Tensor,
    st.lists(st.integers(1, 2048), min_size=1, max_size=4).map(tuple),
    st.sampled_from(["uint8", "int8", "float32"]),
    fractions,
    st.integers(-128, 255),
)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    labels = tuple(draw(st.lists(texts, min_size=1, max_size=5, unique=True)))
    answers = st.lists(st.builds(GoldenAnswer, st.sampled_from(labels), fractions), max_size=4)
    return Contract(
        model=draw(names),
        variant=draw(names),
        task="classification",
        labels=labels,
        preprocess=draw(st.dictionaries(texts, json_values, max_size=3)),
        input=draw(tensors),
        output=draw(tensors),
        golden=tuple(draw(answers)),
        score_tolerance=draw(fractions),
    )


@relaxed
@given(contracts())
def test_a_contract_reads_back(contract: Contract) -> None:
    """The board's copy says what the build said."""
    assert Contract.from_json(contract.to_json()) == contract


MODEL = Model("reader", Task.CLASSIFICATION, FolderDataset(Path("photos")))
trainings = st.builds(Training, epochs=st.integers(1, 99), seed=st.integers(0, 9))
architectures = st.builds(Architecture, alpha=st.sampled_from([0.35, 0.5, 1.0]))


@relaxed
@given(trainings, trainings, architectures, architectures, digests, digests)
def test_recipes_differ_exactly_where_training_does(
    training: Training,
    other: Training,
    shape: Architecture,
    other_shape: Architecture,
    data: str,
    other_data: str,
) -> None:
    """Two recipes share a digest if and only if they would train the same network."""
    one = replace(MODEL, training=training, architecture=shape)
    two = replace(MODEL, training=other, architecture=other_shape)
    same = (training, shape, data) == (other, other_shape, other_data)

    assert (recipe_digest(one, data) == recipe_digest(two, other_data)) is same


@relaxed
@given(st.builds(Gates, min_accuracy=fractions, max_size=st.integers(1)), fractions, st.integers(1, 64))
def test_gates_and_budgets_are_no_inputs(gates: Gates, agreement: float, samples: int) -> None:
    """Only the number of golden samples changes what is built."""
    smoke = Smoke(samples, agreement, {BoardKind.GENERIC: 5.0})
    model = replace(MODEL, gates=gates, smoke=smoke, variants=(VariantName.FLOAT32,))
    plain = replace(MODEL, smoke=Smoke(samples))

    assert recipe_digest(model, "0" * 64) == recipe_digest(plain, "0" * 64)
    assert input_digest(model, "0" * 64) == input_digest(plain, "0" * 64)
    assert input_digest(replace(plain, smoke=Smoke(samples + 1)), "0" * 64) != input_digest(plain, "0" * 64)


quantizations = st.builds(
    Quantization,
    representative=st.integers(1, 9),
    source=st.sampled_from(RepresentativeSource),
    qat=st.builds(Qat, epochs=st.integers(1, 3)),
)


@given(quantizations, quantizations)
def test_quantization_changes_artifacts_and_not_the_network(one: Quantization, two: Quantization) -> None:
    """Whoever chooses other samples converts again, and does not train again."""
    models = [replace(MODEL, quantization=quantization) for quantization in (one, two)]

    assert len({recipe_digest(model, "0" * 64) for model in models}) == 1
    assert (len({input_digest(model, "0" * 64) for model in models}) == 1) is (one == two)


@cache
def renderer() -> Renderer:
    return Renderer(packaged_templates(), {"runtime/serve.py": b"serve"})


ARTIFACT = Artifact("reader", "int8", {"model.tflite": BlobRef("0" * 64, 1)})
printable = st.text(st.characters(categories=["L", "N", "P"]), max_size=12)


def digest(board: Board) -> str:
    return renderer().release(board, ARTIFACT, Smoke()).digest


def shuffled(mapping: Mapping[str, Any], random: Any) -> dict[str, Any]:
    items = list(mapping.items())
    random.shuffle(items)
    return dict(items)


@relaxed
@given(
    st.dictionaries(names, printable, max_size=4),
    st.fixed_dictionaries({"threshold": fractions, "threads": st.integers(1, 8)}),
    st.randoms(),
)
def test_a_board_s_release_forgets_order(labels: dict[str, str], config: dict[str, Any], random: Any) -> None:
    """Two manifests that say the same in another order ask for the same bytes."""
    board = Board("b", BoardKind.GENERIC, "reader", VariantName.INT8, labels=labels, config=config)
    again = replace(board, labels=shuffled(labels, random), config=shuffled(config, random))

    assert digest(board) == digest(again)


@relaxed
@given(printable, st.integers(1, 65535), st.dictionaries(names, json_values, max_size=3))
def test_what_no_template_uses_changes_nothing(host: str, port: int, unused: dict[str, Any]) -> None:
    """How a board is reached, and config that no template reads, are not part of its release."""
    board = Board("b", BoardKind.GENERIC, "reader", VariantName.INT8)
    config = {f"unused-{name}": value for name, value in unused.items()}

    assert digest(board) == digest(
        replace(board, host=host, port=port, user=host, config=config, groups=(host,))
    )


@relaxed
@given(fractions, fractions)
def test_what_a_template_uses_changes_the_release(one: float, two: float) -> None:
    """Another threshold is another release, and the same threshold the same."""
    board = Board("b", BoardKind.GENERIC, "reader", VariantName.INT8, config={"threshold": one})

    assert (digest(board) == digest(replace(board, config={"threshold": two}))) is (repr(one) == repr(two))
