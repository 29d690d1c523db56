"""What files and the file system take, as df(1), du(1), tar(1) and cp(1) see it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.mount.calls import pattern
from tests.mount.harness import Mount, Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

GIB = 1 << 30
LARGE = pattern(3 << 20, 1)
HOLES = b"here" + bytes(5 << 20) + b"and there"


@pytest.fixture
def mount(mounts: Mounts, directory_store: Store) -> Mount:
    directory_store.put("foreign", LARGE)
    return mounts(directory_store)


def test_statfs_tells_of_the_cache_disk(mount: Mount) -> None:
    """Less what has to stay free of it."""
    told, disk = os.statvfs(mount.path), os.statvfs(mount.cache)
    assert (told.f_blocks, told.f_frsize, told.f_namemax) == (disk.f_blocks, disk.f_frsize, 255)
    assert 0 < told.f_bavail <= told.f_bfree <= told.f_blocks
    kept_free = (disk.f_bavail - told.f_bavail) * disk.f_frsize
    assert -GIB < kept_free < disk.f_bavail * disk.f_frsize // 10 + GIB
    assert told.f_favail > 0


@pytest.mark.parametrize("is_read", [False, True])
def test_a_file_takes_what_its_bytes_take_wherever_they_are(mount: Mount, is_read: bool) -> None:
    """Less than its size would tell some programs that the rest are zeros."""
    file = mount.path / "foreign"
    if is_read:
        with file.open("rb") as opened:
            assert opened.read(10) == LARGE[:10]
    assert file.stat().st_blocks * 512 == len(LARGE)
    assert int(_output("du", "--block-size=1", file).split()[0]) == len(LARGE)


@pytest.mark.parametrize("name", ["foreign", "holes"])
def test_what_looks_for_holes_copies_every_byte(mount: Mount, tmp_path: Path, name: str) -> None:
    """By SEEK_HOLE, or by st_blocks: both say that there is none."""
    file = mount.path / name
    if name == "holes":
        with file.open("wb") as opened:
            for offset in (0, HOLES.index(b"and")):
                os.pwrite(opened.fileno(), HOLES[offset : offset + 9].rstrip(b"\0"), offset)
    expected = {"foreign": LARGE, "holes": HOLES}[name]
    for how in ("seek", "raw"):
        archive = tmp_path / f"{how}.tar"
        _output("tar", "--create", "--sparse", f"--hole-detection={how}", "-f", archive, "-C", mount.path, name)
        assert _output("tar", "--extract", "--to-stdout", "-f", archive) == expected
    for how in ("auto", "always", "never"):
        _output("cp", f"--sparse={how}", file, tmp_path / how)
        assert (tmp_path / how).read_bytes() == expected


def _output(*command: str | Path) -> bytes:
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
