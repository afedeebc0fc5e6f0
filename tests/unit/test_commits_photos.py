"""Photos of a commit: beside the manifest's folder, in Git LFS, in a submodule."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from git_fleet import Fleetctl, GitFleet

# What git-lfs does when a file is added; a pointer stays one.
CLEAN = """\
#!/bin/sh
file=$(mktemp)
cat > "$file"
if [ "$(head -c 7 "$file")" = version ]; then cat "$file"; else
    sum=$(sha256sum < "$file" | cut -c 1-64)
    size=$(wc -c < "$file")
    printf 'version https://git-lfs.github.com/spec/v1\\noid sha256:%s\\nsize %s\\n' "$sum" "$size"
fi
rm "$file"
"""


@pytest.fixture
def photos(fleet: GitFleet) -> Path:
    """The folder of the photos, beside the manifest's."""
    fleet.git("mv", "inventory/photos", "photos")
    fleet.edit("path: photos", "path: ../photos")
    fleet.commit("Photos beside the inventory")
    fleet.push()
    return fleet.root / "photos"


@pytest.mark.usefixtures("photos")
def test_photos_beside_the_inventory_are_rolled_out(fleetctl: Fleetctl) -> None:
    """They are of the commit too."""
    assert 0 == fleetctl("rollout", "--yes", "--commit", "HEAD").status
    assert 0 == fleetctl("plan", "--base", "HEAD").status


def test_new_photos_beside_the_inventory_are_a_change(
    fleet: GitFleet, fleetctl: Fleetctl, photos: Path
) -> None:
    """A pull request that brings photos and no lock says so before it is merged, not the rollout after it."""
    (photos / "000099_G17.png").write_bytes(b"another photo")
    new = fleetctl("plan", "--base", "HEAD")
    fleet.commit("A photo")
    committed = fleetctl("plan", "--base", "HEAD~1")
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    next(photos.iterdir()).write_bytes(b"an altered one")
    altered = fleetctl("plan", "--base", "HEAD")

    assert (11, 11, 11) == (new.status, committed.status, altered.status), committed.out
    assert "fleet.lock is out of date" in committed.err


def test_photos_outside_of_the_repository_are_none_of_gits_business(
    fleet: GitFleet, fleetctl: Fleetctl, photos: Path
) -> None:
    """A change is told all the same."""
    photos.rename(fleet.root.parent / "photos")
    fleet.edit("path: ../photos", "path: ../../photos")
    fleet.commit("Photos are elsewhere")

    assert 0 == fleetctl("plan", "--base", "HEAD").status


@pytest.fixture
def in_lfs(fleet: GitFleet, photos: Path) -> Path:
    """Photos of which git has pointers; the files here are those that they point at."""
    script = fleet.root.parent / "clean"
    script.write_text(CLEAN)
    script.chmod(0o700)
    fleet.git("config", "filter.lfs.clean", str(script))
    (fleet.root / ".gitattributes").write_text("*.png filter=lfs\n")
    for photo in photos.iterdir():
        photo.touch()
    fleet.git("rm", "-q", "-r", "--cached", "photos")
    fleet.commit("Photos into LFS")
    fleet.push()
    assert fleet.git("show", f"HEAD:photos/{next(photos.iterdir()).name}").startswith("version ")
    return photos


@pytest.mark.usefixtures("in_lfs")
def test_photos_in_lfs_are_taken_from_the_checkout(fleetctl: Fleetctl) -> None:
    """The pointer's digest says that they are the commit's."""
    said = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert 0 == said.status, said.err


def test_photos_in_lfs_that_are_not_checked_out_are_named(fleetctl: Fleetctl, in_lfs: Path) -> None:
    """No build would mend that, so none is advised."""
    for photo in in_lfs.iterdir():
        data = photo.read_bytes()
        oid = hashlib.sha256(data).hexdigest()
        photo.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n")
    said = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert 11 == said.status
    assert "error: photos/000000_G17.png lies in Git LFS" in said.err
    assert "`git lfs pull`" in said.err
    assert "fleetctl build" not in said.err


def test_a_photo_that_is_none_is_named_where_it_lies_in_the_repository(
    fleet: GitFleet, fleetctl: Fleetctl
) -> None:
    """A link that leads nowhere: the copy of the commit that it was found in is gone by then."""
    photo = fleet.root / "inventory" / "photos" / "000000_G17.png"
    photo.unlink()
    photo.symlink_to("nowhere.png")
    fleet.commit("A dead link")
    fleet.push()
    said = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert (20, "error: inventory/photos/000000_G17.png is not a file") == (
        said.status,
        said.err.splitlines()[0],
    )


@pytest.mark.parametrize("below", ["", "/training"])
def test_photos_in_a_submodule_are_named(
    fleet: GitFleet, fleetctl: Fleetctl, photos: Path, tmp_path: Path, below: str
) -> None:
    """A commit has the address of a submodule, and none of its files."""
    other = GitFleet(tmp_path / "photos")
    (tmp_path / f"photos{below}").mkdir(parents=True)
    for photo in photos.iterdir():
        photo.rename(tmp_path / f"photos{below}" / photo.name)
    subprocess.run(["git", "init", "-q", other.root], check=True)
    other.commit("Photos")
    fleet.git("rm", "-q", "-r", "--cached", "photos")
    photos.rmdir()
    fleet.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.root), "photos")
    fleet.edit("path: ../photos", f"path: ../photos{below}")
    fleet.commit("Photos in a submodule")
    fleet.push()
    here, said = fleetctl("plan"), fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert (1, 20) == (here.status, said.status)
    assert f"error: the photos in photos{below} lie in the submodule photos" in said.err
    assert "fleetctl-commit-" not in said.err


def test_a_stale_lock_is_still_a_stale_lock(fleet: GitFleet, fleetctl: Fleetctl, photos: Path) -> None:
    """Where the commit holds all of its photos, building it is what helps."""
    (photos / "000099_G17.png").write_bytes(b"another photo")
    fleet.commit("A photo")
    fleet.push()
    said = fleetctl("rollout", "--yes", "--commit", "HEAD")

    assert (11, True) == (said.status, "run `fleetctl build toy`" in said.err)
