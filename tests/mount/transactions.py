"""An application with a database: `python transactions.py FILE JOURNAL MMAP_BYTES LOG` commits rows until it fails.

What was committed is in the log, which is outside of the mount.
"""

from __future__ import annotations

import sqlite3
import sys
from itertools import count

ROWS = 20
"""In a transaction: a kill finds many in their midst."""


def body(number: int) -> str:
    """What row `number` says."""
    return f"{number};" * (1 + number * 37 % 400)


def opened(path: str, journal: str, mmap_bytes: int) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA mmap_size = {mmap_bytes}")
    assert db.execute(f"PRAGMA journal_mode = {journal}").fetchone() == (journal,)
    db.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, body TEXT)")
    db.execute("CREATE INDEX IF NOT EXISTS row_body ON row (body)")
    return db


def main(path: str, journal: str, mmap_bytes: int, log: str) -> None:
    db = opened(path, journal, mmap_bytes)
    (first,) = db.execute("SELECT 1 + coalesce(max(number), -1) FROM row").fetchone()
    with open(log, "a", buffering=1) as lines:
        for number in count(first, ROWS):
            db.execute("BEGIN")
            db.executemany("INSERT INTO row VALUES (?, ?)", [(n, body(n)) for n in range(number, number + ROWS)])
            db.execute("UPDATE row SET body = body WHERE number % 50 = ?", (number % 50,))  # old pages, too
            db.execute("COMMIT")
            lines.write(f"{number + ROWS}\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
    except sqlite3.Error as error:
        print(error)
