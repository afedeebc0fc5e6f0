"""Whether a release brings the very code that runs here: then it need not be started as another program."""

from __future__ import annotations

import hashlib
import sys
from typing import Any, Mapping, Optional, Sequence

from .release_files import FileRef


def is_own_code(names: Sequence[str], files: Mapping[str, FileRef]) -> bool:
    """Whether the modules of these names, all of them imported, are those among the files of a release."""
    return all(
        path in files and files[path].sha256 == _digest(name)
        for name, path in ((name, "runtime/%s.py" % name) for name in names)
    )


def _digest(name: str) -> Optional[str]:
    """sha256 of the source that a module was imported from; None where that cannot be told any more."""
    full = "%s.%s" % (__package__, name)
    try:
        loader: Any = sys.modules[full].__spec__.loader  # type: ignore[union-attr]
        if hasattr(loader, "codes"):  # `loader.TextImporter`
            return str(loader.codes[name][0])
        return hashlib.sha256(loader.get_source(full).encode("utf-8")).hexdigest()
    except (AttributeError, ImportError, KeyError, OSError, ValueError):
        return None
