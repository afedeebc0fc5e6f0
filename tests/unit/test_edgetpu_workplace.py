"""Who compiles: this machine, a container, or CI, as the manifest says."""

from pathlib import Path

import fake_edgetpu_compiler as fake
import pytest

from fleetctl.errors import ToolchainMissing
from fleetctl.manifest.schema import EdgeTpu, EdgeTpuBuild
from fleetctl.models.edgetpu import workplace

HERE, CONTAINER, CI = (EdgeTpu(how, timeout=60) for how in EdgeTpuBuild)


def test_without_the_compiler_only_ci_s_variants_wait(programs: Path) -> None:
    """Where it is to be compiled here, that is an error; where CI does, it is pending."""
    assert programs.is_dir()
    assert (True, True, False) == tuple(workplace.can_compile(each) for each in (HERE, CONTAINER, CI))
    assert workplace.PENDING == workplace.version(CI)
    assert workplace.compile_int8(CI, fake.source()) is None
    for ask in (lambda: workplace.version(HERE), lambda: workplace.compile_int8(HERE, fake.source())):
        with pytest.raises(ToolchainMissing, match="edgetpu_compiler, which is not installed"):
            ask()


@pytest.mark.parametrize("settings", [HERE, CI])
def test_with_the_compiler_this_machine_compiles(settings: EdgeTpu, programs: Path, tmp_path: Path) -> None:
    """CI's own machine is one that has it; the manifest's time-out reaches the compiler."""
    fake.install(programs, f'echo "$timeout" > {tmp_path}/told\n' + fake.honest(tmp_path))

    compiled = workplace.compile_int8(settings, fake.source())

    assert compiled is not None
    assert (2, fake.VERSION) == (compiled.report.mapped, workplace.version(settings))
    assert "60\n" == (tmp_path / "told").read_text()
