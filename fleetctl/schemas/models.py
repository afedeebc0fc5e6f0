"""What verbs print that are about models: built, measured, and held against what boards take."""

from fleetctl.schemas import words as w

_SHARE = "of 1"


def _counted(doc: str, **more: w.JsonSchema) -> w.JsonSchema:
    return w.record(doc, n=w.whole("how many"), **more)


BUILD = w.document(
    "fleetctl.build/v1",
    "`fleetctl build`: models as they are locked now.",
    lock_changed=w.truth("`fleet.lock` is to be committed"),
    images=w.mapping("of boards over IoT Hub: by model, variant and platform", w.anything("as in the lock")),
    models=w.mapping(
        "by name",
        w.record(
            built=w.truth("it was built now"),
            reason=w.maybe(w.text("why it was")),
            input=w.digest("of all that its bytes are a function of"),
            toolchain=w.mapping("name to version", w.text("version")),
            variants=w.mapping(
                "by name",
                w.partly(
                    w.record(
                        artifact=w.digest("of the artifact"),
                        files=w.mapping(
                            "by path in the artifact",
                            w.record(sha256=w.digest("of the file"), size=w.whole("bytes")),
                        ),
                        metrics=w.record(
                            samples=w.whole("of the evaluation"),
                            top1=w.number(_SHARE),
                            drop=w.number("against float32, of 1"),
                            worst_class=w.maybe(
                                w.record(label=w.text("sign"), drop=w.number("against float32, of 1"))
                            ),
                            size=w.whole("of the model file, in bytes"),
                            tpu_ops=w.maybe(w.number("share of operations on the Edge TPU, of 1")),
                        ),
                        requires=w.record(
                            "what a runtime has to offer; absent in locks of before it was kept",
                            operations=w.mapping("name to version", w.whole("version")),
                            custom=w.texts("custom operations"),
                            edgetpu=w.maybe(w.whole("runtime version of the Edge TPU")),
                        ),
                        edgetpu=w.record(
                            "how the compiler did; absent where it did not",
                            compiler=w.text("version"),
                            min_runtime=w.maybe(w.whole("runtime version that it needs")),
                            on_chip_bytes=w.maybe(w.whole("of parameters cached on chip")),
                            off_chip_bytes=w.maybe(w.whole("of parameters streamed")),
                            predicted_tpu_ops=w.maybe(w.number("share that was predicted, of 1")),
                            disagreements=w.texts("where the compiler did otherwise than predicted"),
                        ),
                        pending=w.record(
                            "still to be compiled; absent where nothing is",
                            predicted_tpu_ops=w.number("share that is predicted, of 1"),
                        ),
                    ),
                    *("requires", "edgetpu", "pending"),
                ),
            ),
        ),
    ),
)
COMPARISON = w.document(
    "fleetctl.comparison/v1",
    "`fleetctl models compare`: the variants of a model side by side.",
    model=w.text("name"),
    variants=w.items(
        "those that are built",
        w.record(
            variant=w.text("name"),
            size=w.whole("of the model file, in bytes"),
            n=w.maybe(w.whole("samples; null where it cannot run here")),
            top1=w.maybe(w.number(_SHARE)),
            drop=w.maybe(w.number("against float32, of 1")),
            worst_class=w.maybe(w.record(sign=w.text("label"), drop=w.number("against float32, of 1"))),
            latency_ms=w.maybe(
                w.record(
                    mean=w.number("on this machine"),
                    p50=w.number("half are quicker"),
                    p95=w.number("95 % are quicker"),
                )
            ),
            operations=w.items(
                "by kind",
                w.record(
                    op=w.text("name"),
                    count=w.whole("how many"),
                    versions=w.items("that are used", w.whole("version")),
                ),
            ),
            edgetpu=w.record(
                share=w.maybe(w.number("of operations that would be mapped, of 1; null where compiled")),
                refusal=w.maybe(w.text("why the compiler would reject it")),
            ),
        ),
    ),
)
COMPATIBLE = w.document(
    "fleetctl.compatible/v1",
    "`fleetctl models compatible`: which kinds of board can load a model.",
    model=w.text("name, or file"),
    variants=w.mapping(
        "by name",
        w.record(
            tflite=w.text("the oldest TensorFlow Lite that loads it"),
            operations=w.mapping("name to version", w.whole("version")),
            custom=w.texts("custom operations"),
            edgetpu=w.maybe(w.whole("runtime version of the Edge TPU")),
        ),
    ),
    boards=w.items(
        "each kind of board with each variant",
        w.record(
            board=w.text("kind"),
            attached=w.text("what is plugged into it"),
            variant=w.text("name"),
            ok=w.truth("nothing speaks against it"),
            refusals=w.items(
                "what speaks against it",
                w.record(
                    rule=w.text("which"),
                    settings=w.texts("keys of the manifest that have to do with it"),
                    needs=w.text("what the model needs"),
                    has=w.text("what the board has"),
                    fix=w.text("what to do"),
                ),
            ),
        ),
    ),
)
DETECTIONS = w.document(
    "fleetctl.detections/v1",
    "`fleetctl models detect`: the signs on a photo.",
    model=w.text("name"),
    variant=w.text("name"),
    image=w.text("the photo"),
    detections=w.items(
        "the surest first",
        w.record(
            box=w.items("x0, y0, x1, y1 in pixels of the photo", w.number("pixels")),
            sign=w.text("label"),
            score=w.number("how sure, of 1"),
        ),
    ),
)
EVALUATION = w.partly(
    w.document(
        "fleetctl.evaluation/v1",
        "`fleetctl models evaluate`: a variant on labelled photos.",
        model=w.text("name"),
        variant=w.text("name"),
        n=w.whole("photos"),
        top1=w.number(_SHARE),
        n_seen=w.whole("photos of signs that it was taught"),
        top1_seen=w.number("of those, of 1"),
        per_class=w.mapping("by sign", _counted("photos", right=w.whole("answered rightly"))),
        rejection=w.record(
            "what a threshold rejects; absent without one",
            threshold=w.number("of 1"),
            labelled=_counted("photos of signs", rejected=w.whole("how many of them")),
            unknown=_counted("photos of none", rejected=w.whole("how many of them")),
            accepted=_counted(
                "photos above it", right=w.whole("answered rightly"), top1=w.number("of those, of 1")
            ),
        ),
    ),
    "rejection",
)
EDGETPU_CHECK = w.document(
    "fleetctl.edgetpu-check/v1",
    "`fleetctl models check`: what the Edge TPU compiler would map.",
    file=w.text("name"),
    mapped=w.whole("operations"),
    total=w.whole("operations"),
    share=w.number(_SHARE),
    subgraphs=w.whole("in the model"),
    refusal=w.maybe(w.text("why the compiler would reject it")),
    ops=w.items(
        "in the order of the model",
        w.record(
            index=w.whole("in its subgraph, from 0"),
            subgraph=w.whole("from 0"),
            op=w.text("name"),
            version=w.whole("of the operation"),
            mapped=w.truth("it would run on the Edge TPU"),
            reason=w.maybe(w.text("why it would not")),
            layer=w.maybe(w.text("what it computes")),
            advice=w.maybe(w.text("what to change")),
        ),
    ),
)
EDGETPU_INSPECT = w.document(
    "fleetctl.edgetpu-inspect/v1",
    "`fleetctl models inspect`: what a compiled model takes of the Edge TPU.",
    file=w.text("name"),
    custom_ops=w.whole("Edge TPU operations; 0 where it is not compiled"),
    min_runtime=w.maybe(w.whole("runtime version that it needs")),
    on_chip_bytes=w.maybe(w.whole("of parameters cached on chip")),
    off_chip_bytes=w.maybe(w.whole("of parameters streamed")),
    compiler=w.maybe(w.text("version, if it is recorded")),
    cpu_ops=w.mapping("operations left to the processor, by name", w.whole("how many")),
)
