"""Files beside a manifest that are no part of it, by their names: nothing reads them, nor need git."""

_MARKS = ("~", ".bak", ".orig", ".pyc")
_SYSTEMS = (".ds_store", "thumbs.db")
_PHOTOS = (".png", ".jpg", ".jpeg", ".npy", ".csv")  # of data sets, which the lock is held against


def is_leftover(path: str) -> bool:
    """Whether an editor or a system left it behind: a backup, a lock, a swap file."""
    name = path.rpartition("/")[2].lower()
    return name.endswith(_MARKS) or name in _SYSTEMS or _is_locked(name) or name[-4:] in (".swp", ".swo")


def _is_locked(name: str) -> bool:
    """Whether Emacs keeps it for a file that is being edited."""
    return name.startswith(".#") or (name.startswith("#") and name.endswith("#"))


def is_no_manifest(path: str) -> bool:
    """Whether a manifest includes no file of this name, so that it decides about no release by itself."""
    return is_leftover(path) or path.lower().endswith(_PHOTOS)
