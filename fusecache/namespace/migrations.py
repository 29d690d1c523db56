"""The schema of the namespace, and the steps that bring an older one up to it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from fusecache.errors import NamespaceError

_SCHEMAS = ("schema.sql", "seals.sql", "carried.sql", "parts.sql", "requests.sql")
"""What a new namespace begins with: always the newest version."""


@dataclass(frozen=True, slots=True)
class Step:
    """What leads from one version to the next. Names what became possible; never changed once it was released."""

    name: str
    sql: str


STEPS: dict[int, Step] = {
    2: Step(
        "hard links, devices and extended attributes",
        """
        ALTER TABLE inode ADD COLUMN rdev INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE inode ADD COLUMN xattrs BLOB;
        ALTER TABLE task ADD COLUMN attributes INTEGER NOT NULL DEFAULT 0;
        UPDATE inode SET nlink = 2 + (
            SELECT count(*) FROM dentry JOIN directory ON directory.ino = dentry.ino WHERE dentry.parent = inode.ino)
         WHERE ino IN (SELECT ino FROM directory WHERE prefix IS NULL);
        """,
    ),
    3: Step("what outlives a power loss", (Path(__file__).parent / "seals.sql").read_text()),
    4: Step("small files are synced with their rows", (Path(__file__).parent / "carried.sql").read_text()),
    5: Step(
        "a large backlog is told at once",
        """
        DROP INDEX task_since;
        CREATE INDEX task_since ON task (staged, since_seq);
        CREATE INDEX task_stuck ON task (task) WHERE stuck > 0;
        """,
    ),
    6: Step("uploads in parts go on after a restart", (Path(__file__).parent / "parts.sql").read_text()),
    7: Step(
        "directories take turns in the drain",
        """
        ALTER TABLE task ADD COLUMN flow INTEGER;
        UPDATE task SET flow = (SELECT parent FROM dentry WHERE dentry.ino = task.ino LIMIT 1) WHERE kind <> 5;
        CREATE INDEX task_flow ON task (flow, due_ns) WHERE due_ns IS NOT NULL AND kind <> 5;
        """,
    ),
    8: Step("large objects are made of what the store has", "ALTER TABLE inode ADD COLUMN changed BLOB;"),
    9: Step("a mount outlives its daemon", (Path(__file__).parent / "requests.sql").read_text()),
}
"""By the version that a step begins at."""

SCHEMA_VERSION = max(STEPS) + 1


def create(db: sqlite3.Connection) -> None:
    """Make the tables of a new namespace, within the caller's transaction."""
    for name in _SCHEMAS:
        run(db, Path(__file__).with_name(name).read_text())


def migrate(db: sqlite3.Connection, version: object) -> list[str]:
    """Bring the tables from `version` to the newest, within the caller's transaction; return the steps' names.

    Raises:
        NamespaceError: a newer fusecache made them, or none that we know.
    """
    if not isinstance(version, int) or not min(STEPS) <= version <= SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        hint = ": a newer fusecache made it, use that one" if newer else ""
        raise NamespaceError(f"it has schema {version}, this fusecache knows {min(STEPS)} to {SCHEMA_VERSION}{hint}")
    taken = [STEPS[number] for number in range(version, SCHEMA_VERSION)]
    for step in taken:
        run(db, step.sql)
    db.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (SCHEMA_VERSION,))
    return [step.name for step in taken]


def run(db: sqlite3.Connection, script: str) -> None:
    """Execute the statements of `script` one by one: `executescript` would commit what went before."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""
    assert not statement.strip() or all(line.lstrip().startswith("--") for line in statement.strip().splitlines())
