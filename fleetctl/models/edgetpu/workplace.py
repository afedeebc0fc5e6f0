"""Who compiles a model for the Edge TPU: this machine, a container on it, or CI, as the manifest says."""

from fleetctl.manifest.schema import EdgeTpu, EdgeTpuBuild
from fleetctl.models.edgetpu import compiler, container
from fleetctl.models.edgetpu.compiler_result import Compiled

PENDING = "pending"
"""In place of the compiler's version, where another machine is to compile."""


def can_compile(settings: EdgeTpu) -> bool:
    """Whether a variant that is left to CI can be compiled on this machine, which may be CI's."""
    return settings.compile is not EdgeTpuBuild.CI or compiler.is_installed()


def version(settings: EdgeTpu) -> str:
    """The version of the compiler that will be used; `PENDING` where another machine is to compile.

    Raises:
        ToolchainMissing: the compiler, or the container's engine, is not here.
    """
    if settings.compile is EdgeTpuBuild.CONTAINER:
        return container.version()
    return compiler.version(compiler.find()) if can_compile(settings) else PENDING


def compile_int8(settings: EdgeTpu, tflite: bytes) -> Compiled | None:
    """Compile a fully quantized model; None where that is left to another machine.

    Raises:
        ToolchainMissing: the compiler, or the container's engine, is not here.
        BuildError: the compiler failed, refused the model, or mapped nothing of it.
    """
    if settings.compile is EdgeTpuBuild.CONTAINER:
        return container.compile_int8(tflite, timeout=settings.timeout)
    if not can_compile(settings):
        return None
    return compiler.compile_int8(compiler.find(), tflite, timeout=settings.timeout)
