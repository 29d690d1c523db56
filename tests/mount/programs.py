"""Programs that know nothing of us, run on a mount, and what must be in the store when they are done."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.mount.harness import Mount, Mounts, Store

TIMEOUT_S = 60
Looks = dict[str, tuple[int, bytes]]


def need(*programs: str) -> None:
    """Skip the test, loudly, where a program is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        pytest.skip(f"NOT TESTED: no {', '.join(missing)} on this machine")


def run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Run a program to its end and return what it printed; it must succeed."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def looks(root: Path) -> Looks:
    """Every file and symbolic link below `root`: its mode, and its bytes or target."""
    found: Looks = {}
    for path in root.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[str(path.relative_to(root))] = mode, os.readlink(os.fsencode(path))
        elif stat.S_ISREG(mode):
            found[str(path.relative_to(root))] = mode, path.read_bytes()
    return found


def objects_of(root: Path) -> dict[str, bytes]:
    """What the bucket should hold: files, empty objects for symbolic links, and markers of empty directories."""
    files = {path: b"" if stat.S_ISLNK(mode) else body for path, (mode, body) in looks(root).items()}
    empty = [path for path in root.rglob("*/") if not path.is_symlink() and not os.listdir(path)]
    return files | {f"{path.relative_to(root)}/": b"" for path in empty}


def seen_by_another(mount: Mount, store: Store, mounts: Mounts) -> Path:
    """Flush, compare the bucket with the tree, and return another mount with an empty cache, which shows the same."""
    mount.flush()
    expected, objects = objects_of(mount.path), store.objects()
    assert sorted(objects) == sorted(expected)
    assert objects == expected
    other = mounts(store, name="other")
    assert looks(other.path) == looks(mount.path)
    return other.path


def sources(root: Path) -> Path:
    """Make a directory of what archives have to get right, and return it."""
    for number in range(40):
        folder = root / f"d{number % 4}" / f"e{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file {number}").write_bytes(os.urandom(number * 997))
    (root / "empty").mkdir()
    (root / "nothing").touch()
    (root / "naïve – ü").write_text("text")
    (root / "x'; \"$(y)*?").write_text("a name")
    (root / "large").write_bytes(os.urandom(3_000_000))
    (root / "program").write_text("#!/bin/sh\nexit 0\n")
    (root / "program").chmod(0o755)
    (root / "secret").write_text("secret")
    (root / "secret").chmod(0o600)
    os.symlink("d0/e0", root / "link to a directory")
    os.symlink("no such thing", root / "dangling")
    os.link(root / "large", root / "d1" / "the same")
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        if not path.is_symlink():
            os.utime(path, ns=(0, 1_500_000_000_123_456_789 + number * 10**9))
    return root
