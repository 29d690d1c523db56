"""SQLite, git, rsync, tar, make and gcc on a mount, unchanged; the bucket and another mount then have the same."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.mount import transactions
from tests.mount.harness import Mounts, Store
from tests.mount.programs import looks, need, run, seen_by_another, sources

pytestmark = [pytest.mark.mount, pytest.mark.slow]

SQLITE_KILLS = amount("FUSECACHE_KILLS", usual=3, soak=50)
IDENTITY = {f"GIT_{who}_{what}": f"{what}@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
QUICK = ("--persist-delay", "50ms")
"""So that uploads happen while the programs run."""


# --- SQLite ---


def rows_checked(path: Path, log: Path) -> int:
    """Return how many rows there are: all that were committed, and at most one transaction that was in doubt."""
    committed = int((log.read_text().split() or ["0"])[-1]) if log.exists() else 0
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = db.execute("SELECT number, body FROM row ORDER BY number").fetchall()
    assert len(rows) in (committed, committed + transactions.ROWS)
    assert rows == [(number, transactions.body(number)) for number in range(len(rows))]
    log.write_text(f"{len(rows)}\n")
    return len(rows)


@pytest.mark.parametrize("mmap_bytes", [0, 64 << 20], ids=["pread", "mmap"])
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_sqlite_loses_no_transaction(
    journal: str, mmap_bytes: int, directory_store: Store, mounts: Mounts, tmp_path: Path
) -> None:
    mount, log = mounts(directory_store, *QUICK), tmp_path / "log"
    path = mount.path / "rows.db"
    rng, counts = random.Random(), [0]
    for _ in range(SQLITE_KILLS):
        command = [sys.executable, transactions.__file__, path, journal, str(mmap_bytes), log]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as application:
            try:
                wait_for_growth(log, application)
                time.sleep(rng.random() * 0.4)  # a random moment, in the midst of transactions
                mount.kill()
                application.wait(timeout=30)
            finally:
                application.kill()
        mount.mount()
        counts.append(rows_checked(path, log))
    assert sorted(set(counts)) == counts, f"no progress between two kills: {counts}"
    with closing(sqlite3.connect(path)) as db:  # a journal that isn't hot stays until the next transaction
        db.execute("PRAGMA user_version = 1")
    assert os.listdir(mount.path) == ["rows.db"], "a journal is left"
    other = seen_by_another(mount, directory_store, mounts)
    assert rows_checked(other / "rows.db", log) == counts[-1]


def wait_for_growth(log: Path, application: subprocess.Popen[bytes]) -> None:
    """Until something was committed."""
    before = log.stat().st_size if log.exists() else 0
    while not (log.exists() and log.stat().st_size > before):
        assert application.poll() is None, "it ended by itself"
        time.sleep(0.005)


# --- git ---


def test_git(directory_store: Store, mounts: Mounts) -> None:
    need("git")
    mount = mounts(directory_store, *QUICK)
    repository = mount.path / "repository"

    def git(*arguments: str | Path, cwd: Path = repository) -> str:
        return run("git", *arguments, cwd=cwd, GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", **IDENTITY)

    repository.mkdir()
    git("init", "--quiet", "--initial-branch", "main")
    for number in range(4):
        (repository / "src").mkdir(exist_ok=True)
        (repository / "src" / f"file{number}").write_text(f"{number}\n" * 5_000)
        (repository / "changed").write_text(f"version {number}\n" * 100)
        git("add", "--all")
        git("commit", "--quiet", "--message", f"commit {number}")
    git("checkout", "--quiet", "-b", "other", "HEAD~2")
    (repository / "elsewhere").write_text("on a branch\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", "on a branch")
    git("checkout", "--quiet", "main")
    git("merge", "--quiet", "--no-edit", "other")
    git("tag", "v1")
    git("gc", "--quiet", "--prune=now")
    git("fsck", "--strict", "--full")
    git("clone", "--quiet", repository, mount.path / "clone")  # by hard links
    git("fsck", "--strict", "--full", cwd=mount.path / "clone")
    mount.kill()
    mount.mount()
    history = git("log", "--all", "--oneline")
    assert history.count("\n") == 6
    assert git("status", "--porcelain") == ""
    other = seen_by_another(mount, directory_store, mounts)
    for name in ("repository", "clone"):
        git("fsck", "--strict", "--full", cwd=other / name)
        assert git("status", "--porcelain", cwd=other / name) == ""
    assert git("log", "--all", "--oneline", cwd=other / "repository") == history


# --- rsync and tar ---


def test_rsync_moves_nothing_twice(directory_store: Store, mounts: Mounts, tmp_path: Path) -> None:
    need("rsync")
    mount, origin = mounts(directory_store, *QUICK), sources(tmp_path / "origin")

    def rsync(source: Path, target: Path) -> list[str]:
        return run("rsync", "-aH", "--itemize-changes", f"{source}/", f"{target}/").splitlines()

    copy = mount.path / "copy"
    assert rsync(origin, copy)
    assert rsync(origin, copy) == []
    assert looks(copy) == looks(origin)
    mount.kill()
    mount.mount()
    assert rsync(origin, copy) == []
    mount.flush()
    assert rsync(origin, copy) == []
    assert rsync(copy, tmp_path / "back")
    assert rsync(origin, tmp_path / "back") == []
    other = seen_by_another(mount, directory_store, mounts)
    # There, directories without a marker have no times, and linked files are equal files.
    moved = [line for line in rsync(origin, other / "copy") if not line.startswith((".d", "hf"))]
    assert moved == []


def test_tar_round_trip(directory_store: Store, mounts: Mounts, tmp_path: Path) -> None:
    need("tar")
    mount, origin = mounts(directory_store, *QUICK), sources(tmp_path / "origin")
    archive, copy, back = mount.path / "archive.tar", mount.path / "copy", tmp_path / "back"
    for directory in (copy, back):
        directory.mkdir()
    run("tar", "--create", "--file", archive, "--directory", origin, ".")
    run("tar", "--extract", "--same-permissions", "--file", archive, "--directory", copy)
    run("tar", "--compare", "--file", archive, "--directory", copy)
    assert (copy / "large").stat().st_ino == (copy / "d1" / "the same").stat().st_ino
    run("tar", "--create", "--file", archive, "--directory", copy, ".")  # over the old one
    run("tar", "--extract", "--same-permissions", "--file", archive, "--directory", back)
    run("tar", "--compare", "--file", archive, "--directory", origin)
    assert looks(back) == looks(origin)
    assert mtimes(back) == mtimes(origin)
    seen_by_another(mount, directory_store, mounts)


def mtimes(root: Path) -> dict[str, int]:
    """In seconds, which is all that the format has."""
    return {
        str(path.relative_to(root)): int(path.lstat().st_mtime) for path in root.rglob("*") if not path.is_symlink()
    }


# --- a build ---

MAKEFILE = """\
OBJECTS := $(patsubst %.c,%.o,$(wildcard part*.c))
program: main.o libparts.a
\tgcc -o $@ $^
libparts.a: $(OBJECTS)
\tar rcs $@ $^
%.o: %.c
\tgcc -O1 -Wall -Werror -MMD -c -o $@ $<
-include $(wildcard *.d)
"""
PARTS = 8


def project(root: Path) -> Path:
    """Write a C program of several parts and headers, and return its directory."""
    root.mkdir()
    (root / "Makefile").write_text(MAKEFILE)
    (root / "all.h").write_text("".join(f'#include "part{n}.h"\n' for n in range(PARTS)))
    for n in range(PARTS):
        (root / f"part{n}.h").write_text(f"int part{n}(void);\n")
        (root / f"part{n}.c").write_text(f'#include "part{n}.h"\nint part{n}(void) {{ return {n}; }}\n')
    calls = " + ".join(f"part{n}()" for n in range(PARTS))
    (root / "main.c").write_text(f'#include <stdio.h>\n#include "all.h"\nint main(void) {{ printf("%d", {calls}); }}\n')
    return root


def test_a_c_build(directory_store: Store, mounts: Mounts) -> None:
    need("make", "gcc", "ar")
    mount = mounts(directory_store, *QUICK)
    root = project(mount.path / "project")
    assert run("make", "-j4", cwd=root).count("-c -o") == PARTS + 1
    assert run(root / "program") == "28"
    assert "up to date" in run("make", "-j4", cwd=root)
    mount.kill()
    mount.mount()
    assert "up to date" in run("make", "-j4", cwd=root)
    (root / "part3.h").write_text("int part3(void); /* changed */\n")
    (root / "part3.c").write_text('#include "part3.h"\nint part3(void) { return 30; }\n')
    rebuilt = run("make", "-j4", cwd=root)
    assert [line.split()[-1] for line in rebuilt.splitlines() if " -c " in line] in (
        ["part3.c", "main.c"],
        ["main.c", "part3.c"],
    )
    assert run(root / "program") == "55"
    other = seen_by_another(mount, directory_store, mounts)
    assert run(other / "project" / "program") == "55"
    assert "up to date" in run("make", "-j4", cwd=other / "project")
