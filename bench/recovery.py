"""How long until a mount is ready again, with a large namespace and many dirty files?

Unit: s of wall time, from opening the namespace until the first request could be answered. Baseline: the same with an
empty namespace. After a crash of the process nothing is read; after a power loss the dirty files that were closed and
not synced are read, all others are looked up.

    python -m bench.recovery [--rows 1000000] [--dirty 10000]
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path

import click
import xxhash

from bench.harness import Row, print_table
from fusecache.cache.contents import Contents
from fusecache.cache.index import ContentIndex
from fusecache.fs.recovery import Recovery
from fusecache.namespace.lower import Defaults
from fusecache.namespace.namespace import Namespace

DEFAULTS = Defaults(uid=0, gid=0, file_mode=0o644, dir_mode=0o755)
BODY = os.urandom(4096)
BATCH = 50_000


def opened(root: Path, boot_id: str) -> Namespace:
    return Namespace(
        root / "namespace.db",
        url="s3://bench",
        boot_id=boot_id,
        delay_ns=10**9,
        defaults=DEFAULTS,
        is_staging=lambda names: False,
        now_ns=time.time_ns(),
    )


def fill(root: Path, rows: int, dirty: int) -> None:
    """Make a namespace of `rows` files, of which `dirty` were closed just now."""
    opened(root, "before").close()
    digest = xxhash.xxh3_64_digest(BODY)
    db = sqlite3.connect(root / "namespace.db", isolation_level=None)
    for first in range(0, rows, BATCH):
        numbers = range(first, min(rows, first + BATCH))
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO inode (ino, mode, uid, gid, nlink, size, atime_ns, mtime_ns, ctime_ns, generation, headed,"
            " base_store, base_key, base_etag, base_size) VALUES (?, 33188, 0, 0, 1, 4096, 1, 1, 1, 0, 1, ?, ?, ?, ?)",
            [(n + 10, None, None, None, None) if n < dirty else (n + 10, 1, f"f{n}", "e", 4096) for n in numbers],
        )
        db.executemany(
            "INSERT INTO dentry (parent, name, ino, store, key, etag, generation, epoch)"
            " VALUES (1, ?, ?, ?, ?, ?, ?, 1)",
            [(b"f%d" % n, n + 10, *((None,) * 4 if n < dirty else (1, f"f{n}", "e", 0))) for n in numbers],
        )
        db.executemany(
            "INSERT INTO task (task, kind, ino, store, generation, seq, since_seq, due_ns, since_ns)"
            " VALUES (?, 1, ?, 1, 1, 1, 1, 1, 1)",
            [(n + 10, n + 10) for n in numbers if n < dirty],
        )
        db.executemany(
            "INSERT INTO seal (ino, generation, digest) VALUES (?, 0, ?)",
            [(n + 10, digest) for n in numbers if n < dirty],
        )
        db.execute("COMMIT")
    db.execute("UPDATE meta SET value = ? WHERE name = 'seq_reserved'", (rows + 100_000,))
    db.close()
    contents = root / "contents"
    for number in range(256):
        (contents / f"{number:02x}").mkdir(parents=True)
    for number in range(10, dirty + 10):
        (contents / f"{number & 0xFF:02x}" / f"{number:x}").write_bytes(BODY)


def ready_s(root: Path, boot_id: str) -> float:
    """Return the seconds that opening and recovering take."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    started_at = time.perf_counter()
    namespace = opened(root, boot_id)
    contents = Contents(root, ContentIndex(root / "index.db"), boot_id=boot_id)
    Recovery(namespace, contents, boot_id=boot_id, delay_ns=10**9, wall_ns=time.time_ns).run()
    took = time.perf_counter() - started_at
    contents.close()
    namespace.close()
    return took


@click.command(help=__doc__)
@click.option("--rows", default=1_000_000, show_default=True)
@click.option("--dirty", default=10_000, show_default=True)
@click.option("--directory", type=click.Path(path_type=Path, file_okay=False), help="Where the state is made.")
def main(rows: int, dirty: int, directory: Path | None) -> None:
    here = Path(tempfile.mkdtemp(prefix="fusecache-bench.", dir=directory))
    try:
        for name in ("empty", "full"):
            (here / name).mkdir()
        fill(here / "empty", 0, 0)
        fill(here / "full", rows, dirty)
        table = [
            Row(what, ready_s(here / "full", boot_id), ready_s(here / "empty", boot_id), "s", "≤ 3")
            for what, boot_id in (("after a crash", "before"), ("after a power loss", "after"))
        ]
    finally:
        shutil.rmtree(here, ignore_errors=True)
    print_table(
        f"How long until a mount is ready again? ({rows:,} files, {dirty:,} of them dirty, cold)", "an empty one", table
    )


if __name__ == "__main__":
    main()
