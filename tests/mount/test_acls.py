"""Access control lists on a mount: the kernel judges by them, and they outlive a daemon and a mount, but stay here."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from fusecache.fs import acl
from tests.mount.harness import Mounts, Store, open_directory, watched
from tests.mount.test_passthrough import DIRECT
from tests.unit.test_acl import permits

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: only root may be somebody else"),
]

NAMED = 7
"""Whom the lists name."""


def may_read(path: Path, uid: int) -> bool:
    return not subprocess.run(
        ["cat", path], user=uid, group=uid, extra_groups=[], capture_output=True, timeout=20, check=False
    ).returncode


def test_the_kernel_judges_by_what_is_kept(directory_store: Store) -> None:
    with open_directory() as root, watched(Mounts(root)) as mounts:
        mount = mounts(directory_store, *DIRECT, "--acl")
        path = mount.path / "d" / "f"
        path.parent.mkdir(mode=0o755)
        os.setxattr(path.parent, acl.DEFAULT, acl.packed(permits(7, 0, 0, mask=7, named=5)))
        os.setxattr(path.parent, acl.ACCESS, acl.packed(permits(7, 5, 5, mask=7, named=5)))
        path.write_bytes(b"for some")
        for _ in range(2):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            assert [may_read(path, uid) for uid in (NAMED, NAMED + 1)] == [True, False]
            path.chmod(0o600)  # the mask: nobody but the owner
            assert not may_read(path, NAMED)
            path.chmod(0o660)
            mount.umount()
            mount.mount()
        assert directory_store.objects() == {"d/f": b"for some"}


def test_without_the_option_there_are_none(mounts: Mounts, directory_store: Store) -> None:
    path = mounts(directory_store, *DIRECT).path / "f"
    path.touch()
    with pytest.raises(OSError, match="not supported"):
        os.setxattr(path, acl.ACCESS, acl.packed(permits(6, 4, 0, mask=4, named=4)))
