"""Being somebody to whom permissions apply, also where tests run as root."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Opens the folder that all tests of a run share: two such tests at once would close it on each other.
as_another_user = pytest.mark.xdist_group("as another user")


@contextmanager
def nobody(folder: Path, *, but: Path | None = None) -> Iterator[None]:
    """Be a user to whom permissions apply, where the tests run as root; `folder` is theirs, save for `but`
    and what nobody may read.
    """
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        if path != but and path.stat().st_mode & 0o777:
            path.chmod(0o777)
    for path in folder.parents:
        if path.stat().st_mode & 0o011 != 0o011:
            # The group is still root. Never closed again: other workers' folders lie below it too.
            path.chmod(path.stat().st_mode | 0o011)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
