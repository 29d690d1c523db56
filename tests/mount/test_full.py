"""dd(1) to a cache disk that is full: what it was told to have written is there, and the mount goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.mount.calls import pattern
from tests.mount.harness import DEADLINE_S, Mounts, Store, tree, watched

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root can mount a small disk"),
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="NOT TESTED: there is no mkfs.ext4"),
]

MIB = 1 << 20
DISK_MIB = max(256, amount("FUSECACHE_DISK_MIB", usual=256, soak=4096))
"""Of a smaller one most is what is kept free."""
PATIENCE = ("--persist-delay", "1h", "--space-patience", "2s")


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path), 4 * DEADLINE_S) as made:
        yield made


@pytest.fixture
def disk_mib(mounts: Mounts) -> Iterator[int]:
    """The cache directory of the mount is an ext4 file system of its own; return its size."""
    image, cache = mounts.root / "disk.img", mounts.root / "cache-m"
    with image.open("wb") as file:
        file.truncate(DISK_MIB * MIB)
    cache.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    if subprocess.run(["mount", "-o", "loop", image, cache], check=False).returncode:
        pytest.skip("NOT TESTED: there are no loop devices here")
    try:
        yield DISK_MIB
        mounts.cut_off()
    finally:
        subprocess.run(["umount", "-l", cache], check=True)


@pytest.mark.parametrize("transport", ["pyfuse3", "direct"])
def test_what_dd_has_written_is_there(disk_mib: int, mounts: Mounts, directory_store: Store, transport: str) -> None:
    mount = mounts(directory_store, "--transport", transport, *PATIENCE)
    source, written = mounts.root / "source", {}
    with source.open("wb") as file:
        file.writelines(pattern(MIB, number) for number in range(disk_mib))
    for number in range(3):  # the second and third find it full
        target = mount.path / str(number)
        done = subprocess.run(
            ["dd", f"if={source}", f"of={target}", "bs=1M"], capture_output=True, text=True, timeout=300, check=False
        )
        assert "No space left on device" in done.stderr, done.stderr
        told = re.search(r"^(\d+) bytes", done.stderr, re.MULTILINE)
        written[target.name] = int(told[1]) if told else 0
        if target.exists():
            assert target.stat().st_size >= written[target.name]
    assert written["0"] > disk_mib * MIB // 3
    (mount.path / "still here").mkdir()
    (mount.path / "0").rename(mount.path / "moved")
    mount.kill()
    mount.mount()
    assert _begins_as(mount.path / "moved", source, written["0"])
    told_flush = mount.flush()
    assert (told_flush["files_left"], told_flush["stuck"]) == (0, []), told_flush
    assert sorted(directory_store.objects()) == sorted(tree(mount.path))
    (mount.path / "new").write_bytes(b"there is room again")
    assert (mount.path / "new").read_bytes() == b"there is room again"


def _begins_as(path: Path, source: Path, size: int) -> bool:
    with path.open("rb") as one, source.open("rb") as other:
        return all(one.read(MIB)[: size - at] == other.read(MIB)[: size - at] for at in range(0, size, MIB))
