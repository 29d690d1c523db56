"""A Parquet dataset, written the way Spark's FileOutputCommitter (version 1) writes one.

Every part follows from its number alone, so that what comes back is compared with
what should have been written, not with another copy of what was.
"""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 43_000
"""Three columns of 8 bytes: with Parquet's pages around them nearly 1 MiB."""
JOB = "202501010000"
Told = Callable[[int], None]


def part_name(number: int) -> str:
    return f"part-{number:05d}-fusecache-demo.parquet"


def part_table(number: int) -> pa.Table:
    """Return the rows of part `number`: an ascending id and two columns that don't compress."""
    noise = random.Random(number)
    ids = array("q", range(number * ROWS, (number + 1) * ROWS))
    columns = {"event_id": ids.tobytes(), "user_id": noise.randbytes(ROWS * 8), "amount": noise.randbytes(ROWS * 8)}
    return pa.table({name: _column(body) for name, body in columns.items()})


def part_digest(number: int) -> str:
    """Return the SHA-256 of the file that part `number` makes."""
    sink = pa.BufferOutputStream()
    _write(part_table(number), sink)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def write_tasks(table: Path, count: int, told: Told) -> None:
    """Run the tasks: each writes into an attempt's directory, and commits by renaming that."""
    job = table / "_temporary" / "0"
    (job / "_temporary").mkdir(parents=True)
    for number in range(count):
        attempt = job / "_temporary" / f"attempt_{JOB}_0000_m_{number:06d}_0"
        attempt.mkdir()
        _write(part_table(number), attempt / part_name(number))
        attempt.rename(job / f"task_{JOB}_0000_m_{number:06d}")
        told(number + 1)


def commit_job(table: Path, told: Told) -> None:
    """Commit the job: every file to its final name, one by one, the scratch directory away, `_SUCCESS` last."""
    job = table / "_temporary" / "0"
    for done, task in enumerate(sorted(job.glob("task_*")), 1):
        for part in task.iterdir():
            part.rename(table / part.name)
        task.rmdir()
        told(done)
    (job / "_temporary").rmdir()
    job.rmdir()
    job.parent.rmdir()
    (table / "_SUCCESS").touch()


def identical_parts(table: Path, count: int, told: Told) -> int:
    """Read the dataset back with pyarrow, part by part, and return how many are what was written."""
    same = 0
    for number in range(count):
        path = table / part_name(number)
        same += path.exists() and pq.read_table(path, memory_map=False, partitioning=None).equals(part_table(number))
        told(number + 1)
    return same


def _column(body: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), len(body) // 8, [None, pa.py_buffer(body)])


def _write(rows: pa.Table, where: Path | pa.NativeFile) -> None:
    pq.write_table(rows, where, compression="none", use_dictionary=False)
