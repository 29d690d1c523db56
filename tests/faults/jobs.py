"""What jobs do to a table, call by call, as their committers do it; a marker names the data it is of."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

MARKER = "_SUCCESS"


def etag_of(data: bytes) -> str:
    """What S3 calls an object that came in one piece."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def part_of(run: int, number: int) -> tuple[str, bytes]:
    """Name and bytes of a job's output: some names are those of the run before, others are new."""
    name = f"part-{number:05d}" if number % 2 else f"part-{number:05d}-{run}"
    return name, b"run %d part %d" % (run, number) * (1 + number % 7)


def write_table(table: Path, run: int, parts: int) -> int:
    """Write a table by tasks that rename into it, as FileOutputCommitter v1 does; return how many files it has.

    What was there is deleted first, and the marker before it: a directory's order may have it last, and a drain may
    come between the two if that takes longer than its delay.
    """
    if table.exists():
        (table / MARKER).unlink()
        shutil.rmtree(table)
    job = table / "_temporary" / "0"
    job.mkdir(parents=True)
    data = {}
    for number in range(parts):
        name, body = part_of(run, number)
        attempt = job / "_temporary" / f"attempt_{run}_{number}"
        attempt.mkdir(parents=True)
        (attempt / f".{name}.crc").write_bytes(b"crc")
        (attempt / name).write_bytes(body)
        attempt.rename(job / f"task_{run}_{number}")
        data[name] = etag_of(body)
    for number in range(parts):
        name, _ = part_of(run, number)
        (job / f"task_{run}_{number}" / name).rename(table / name)
    shutil.rmtree(table / "_temporary")
    (table / MARKER).write_text(json.dumps(data))
    return parts + 1


def insert_as_hive(table: Path, run: int, parts: int) -> int:
    """Add files to a table by Hive's three renames: task, job, table; return how many."""
    scratch = table / f".hive-staging_hive_{run}"
    (scratch / "_task_tmp.-ext-10000").mkdir(parents=True)
    for number in range(parts):
        name, body = part_of(run, number)
        (scratch / "_task_tmp.-ext-10000" / f"_tmp.{name}").write_bytes(body)
    (scratch / "_tmp.-ext-10000").mkdir()
    for number in range(parts):
        name, _ = part_of(run, number)
        (scratch / "_task_tmp.-ext-10000" / f"_tmp.{name}").rename(scratch / "_tmp.-ext-10000" / name)
    (scratch / "_tmp.-ext-10000").rename(scratch / "-ext-10000")
    for number in range(parts):
        name, _ = part_of(run, number)
        (scratch / "-ext-10000" / name).rename(table / name)
    shutil.rmtree(scratch)
    return parts


def prepare(root: Path) -> None:
    """Write the files that `work` renames and removes."""
    for name in ("renamed", "gone"):
        (root / name).write_bytes(name.encode())


def work(root: Path, parts: int) -> None:
    """Overwrite a finished table, write others, move one, add to one as Hive does, and something of everything else.

    Of the tables `old0` and `old1`, and of what was prepared.
    """
    write_table(root / "old0", 2, parts)
    write_table(root / "new0", 1, parts)
    (root / "old1").rename(root / "moved")
    (root / "hive").mkdir()
    insert_as_hive(root / "hive", 1, parts)
    (root / "large").write_bytes(os.urandom(12 << 20))
    (root / "renamed").rename(root / "elsewhere")
    (root / "gone").unlink()
    (root / "empty").mkdir()
    (root / "small").mkdir()
    for number in range(parts):
        (root / "small" / f"{number}").write_bytes(b"%d" % number)
    write_table(root / "old0", 3, parts)
