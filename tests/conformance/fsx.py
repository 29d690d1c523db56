"""Runs fsx: random reads, writes and cuts of one file, each read compared with what fsx knows was written."""

from __future__ import annotations

import subprocess
from pathlib import Path

TIMEOUT_S = 60  # five seconds on a free machine
OPERATIONS = 2000

# Eight blocks of 1 MiB, and writes that cross from one to the next.
_CONFIG = """
flen = 8_388_608

[opsize]
max = 524_288

[weights]
read = 10
write = 10
truncate = 5
close_open = 3
fsync = 1
fdatasync = 1
sendfile = 3
copy_file_range = 3
posix_fadvise = 1
posix_fallocate = 1
"""
_PUNCHING = {True: "punch_hole = 5\n", False: "punch_hole = 0\n"}
"""Where fallocate is EOPNOTSUPP, the C library makes up for it in posix_fallocate only."""

WAYS = {
    "unmapped": "mapread = 0\nmapwrite = 0\n",
    "mapped": "mapread = 8\nmapwrite = 8\ninvalidate = 1\n",
    "lazy": "mapread = 8\nmapwrite = 8\n",
}
"""Without mmap; with it, each store followed by msync; and with stores that are left to the kernel to write."""


def run(
    program: Path, way: str, path: Path, work: Path, *, seed: int, punches: bool, operations: int = OPERATIONS
) -> None:
    """Exercise `path`, which holds the last bytes written when this returns; the same seed does the same again.

    `punches`: holes, too, which not every transport can.

    Raises:
        AssertionError: a read or a size was wrong; the operations before it are in the message.
    """
    config = work / f"{path.name}.toml"
    config.write_text(f"nomsyncafterwrite = {str(way == 'lazy').lower()}\n{_CONFIG}{_PUNCHING[punches]}{WAYS[way]}")
    done = subprocess.run(
        [program, "-f", config, "-N", str(operations), "-S", str(seed), "-P", work, path],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,  # what it printed says it better
    )
    assert done.returncode == 0, f"{way}, seed {seed}:\n{(done.stdout + done.stderr)[-5000:]}"
