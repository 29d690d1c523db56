"""A daemon is killed at each moment of a request that changes something, and another answers it: it happens once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusecache.fs.transport.direct.abi import Opcode
from tests.amounts import amount
from tests.crash.mortal import MOMENTS, fusecache_doomed_by
from tests.mount.calls import Facts, Side, Step
from tests.mount.harness import Mount, Mounts, file_store

pytestmark = [
    pytest.mark.mount,
    pytest.mark.slow,
    pytest.mark.skipif(
        tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 9),
        reason="NOT TESTED: kernels before 6.9 ask nothing again",
    ),
]

BEFORE: tuple[Step, ...] = (
    ("mkdir", "empty", 0o755),
    ("open", 1, "f", "RDWR CREAT", 0o644),
    ("write", 1, 100, 1),
    ("open", 2, "g", "RDWR CREAT", 0o644),
    ("write", 2, 100, 2),
    ("setxattr", "f", "user.old", 10, 0),
    ("open", 1, "f", "RDWR", 0),
    ("open", 2, "g", "RDWR", 0),
)
"""What is there, and open: the first write since is a transaction."""
CALLS: dict[str, tuple[Opcode, Step]] = {
    "mkdir": (Opcode.MKDIR, ("mkdir", "new", 0o750)),
    "rmdir": (Opcode.RMDIR, ("rmdir", "empty")),
    "unlink": (Opcode.UNLINK, ("unlink", "f")),
    "create": (Opcode.CREATE, ("open", 3, "new", "RDWR CREAT EXCL", 0o640)),
    "mknod": (Opcode.MKNOD, ("mkfifo", "new", 0o640)),
    "symlink": (Opcode.SYMLINK, ("symlink", "f", "new")),
    "link": (Opcode.LINK, ("link", "f", "new")),
    "rename": (Opcode.RENAME, ("rename", "f", "g")),
    "rename_new": (Opcode.RENAME2, ("rename_new", "f", "new")),
    "exchange": (Opcode.RENAME2, ("exchange", "f", "g")),
    "tmpfile": (Opcode.TMPFILE, ("open", 3, "", "RDWR TMPFILE", 0o640)),
    "chmod": (Opcode.SETATTR, ("chmod", "f", 0o600)),
    "truncate": (Opcode.SETATTR, ("truncate", "f", 3)),
    "setxattr": (Opcode.SETXATTR, ("setxattr", "f", "user.new", 10, os.XATTR_CREATE)),
    "removexattr": (Opcode.REMOVEXATTR, ("removexattr", "f", "user.old")),
    "fallocate": (Opcode.FALLOCATE, ("allocate", 1, 0, 50, 200)),
    "copy_file_range": (Opcode.COPY_FILE_RANGE, ("copy", 1, 2, 10, 50)),
    "write": (Opcode.WRITE, ("pwrite", 1, 95, 10, 3)),
}
BYTES = {"write", "fallocate", "copy_file_range"}
"""Where the kernel has the file, the open has made the transaction of these, and the first is never asked for."""
IS_THOROUGH = amount("FUSECACHE_MOMENTS", usual=1, soak=len(MOMENTS)) > 1
"""Else that of which most can go wrong: it was carried out, and not answered."""
Result = tuple[object, dict[str, Facts | str], dict[str, bytes]]


class Doomed:
    """A mount whose daemon dies in the midst of a call. Each call has a directory of its own."""

    def __init__(self, mounts: Mounts, directory: Path, *options: str) -> None:
        self._doom = directory / "doom"
        run = fusecache_doomed_by(self._doom, is_followed=True)
        options = ("--transport", "direct", "--persist-delay", "1h", *options)
        self.store = file_store(directory / "store")
        self.mount: Mount = mounts(self.store, *options, run=run)

    def result(self, name: str, moment: str | None) -> Result:
        """Return what a call returns, and what is there afterwards; its daemon has died at that moment."""
        opcode, step = CALLS[name]
        root = self.mount.path / f"{name}-{moment}"
        root.mkdir()
        side = Side(str(root))
        try:
            assert [side.do(each) for each in BEFORE] == [None, None, 100, None, 100, None, None, None]
            before = self.mount.daemon()
            if moment is not None:
                self._doom.write_text(f"{opcode.name.lower()}.{moment} 1")
            told = side.do(step)
            os.statvfs(self.mount.path)
            assert (self.mount.daemon() != before) == (moment is not None), f"{name}: {opcode.name} {moment} was passed"
            seen = {path: each if isinstance(each, str) else each[0] for path, each in side.look().items()}
            return told, seen, dict(side.contents())
        finally:
            side.let_go()


def moments(name: str, way: str) -> list[str]:
    """At which the daemon dies of a call."""
    if way == "passthrough" and name in BYTES:
        return ["asked", "done", "answered"] if name != "write" else []
    return list(MOMENTS) if IS_THOROUGH else ["done"]


@pytest.mark.parametrize("way", ["passthrough", "no-passthrough"] if IS_THOROUGH else ["no-passthrough"])
def test_what_is_asked_again_happens_once(way: str, mounts: Mounts, tmp_path: Path) -> None:
    """All that is asked of one mount, as if nobody had died."""
    doomed = Doomed(mounts, tmp_path, f"--{way}")
    for name in CALLS:
        expected = doomed.result(name, None)
        for moment in moments(name, way):
            assert doomed.result(name, moment) == expected, f"{name}, killed when it was {moment}"
    doomed.mount.pid = doomed.mount.facts()["pid"]
    told = doomed.mount.flush()
    assert (told["files_left"], told["stuck"], told["open_files"]) == (0, [], []), told
