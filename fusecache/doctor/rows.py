"""What must hold among the rows of a namespace, between any two transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fusecache.doctor.findings import Finding, Kind
from fusecache.doctor.snapshot import Row, Snapshot
from fusecache.errors import NamespaceError
from fusecache.namespace.migrations import SCHEMA_VERSION

NEVER = {
    "a live name without an inode": """
        SELECT parent, name FROM dentry WHERE ino IS NOT NULL AND ino NOT IN (SELECT ino FROM inode)""",
    "a name in what is no directory": "SELECT parent, name FROM dentry WHERE parent NOT IN (SELECT ino FROM directory)",
    "a directory inode without its row": """
        SELECT ino FROM inode WHERE mode & 61440 = 16384 AND nlink > 0 AND ino NOT IN (SELECT ino FROM directory)""",
    "a directory row without its inode": """
        SELECT ino FROM directory WHERE ino NOT IN (SELECT ino FROM inode WHERE mode & 61440 = 16384 AND nlink > 0)""",
    "a directory without exactly one name": """
        SELECT ino FROM directory WHERE ino <> 1
           AND (SELECT count(*) FROM dentry WHERE dentry.ino = directory.ino) <> 1""",
    "a file whose links are miscounted": """
        SELECT ino, nlink FROM inode WHERE ino <> 1 AND mode & 61440 <> 16384
           AND nlink <> (SELECT count(*) FROM dentry WHERE dentry.ino = inode.ino)""",
    "a half identity of an object": """
        SELECT parent, name FROM dentry
         WHERE (store IS NULL) + (key IS NULL) + (etag IS NULL) + (generation IS NULL) NOT IN (0, 4)""",
    "a whiteout with an object": "SELECT parent, name FROM dentry WHERE ino IS NULL AND key IS NOT NULL",
    "a settled live name": "SELECT parent, name FROM dentry WHERE ino IS NOT NULL AND settled",
    "a settled whiteout that shields": """
        SELECT parent, name FROM dentry WHERE settled AND EXISTS (
            SELECT 1 FROM task WHERE shield_parent = dentry.parent AND shield_name = dentry.name
                OR kind = 3 AND target_parent = dentry.parent AND target_name = dentry.name)""",
    "a half base": """
        SELECT ino FROM inode
         WHERE (base_store IS NULL) + (base_key IS NULL) + (base_etag IS NULL) + (base_size IS NULL) NOT IN (0, 4)""",
    # A relocation ends by itself when it finds its directory gone: it knows what it has copied.
    "a task about nobody": """
        SELECT task, kind FROM task WHERE kind NOT IN (3, 5) AND ino NOT IN (SELECT ino FROM inode)""",
    "a task about nothing": "SELECT task, kind FROM task WHERE (kind = 5) <> (ino IS NULL) OR kind = 5 AND key IS NULL",
    "an upload or copy of what has no name": """
        SELECT task FROM task WHERE kind IN (1, 2) AND ino NOT IN (SELECT ino FROM inode WHERE nlink > 0)""",
    "a marker of what is no directory": """
        SELECT task FROM task WHERE kind = 4 AND ino NOT IN (SELECT ino FROM directory)""",
    "a seq from the future": "SELECT task FROM task WHERE seq > :seq OR since_seq > :seq OR since_seq > seq",
    "an epoch from the future": "SELECT parent, name FROM dentry WHERE epoch > :seq",
    "bytes that are in no store and in no task": """
        SELECT inode.ino, dentry.name FROM inode JOIN dentry ON dentry.ino = inode.ino
         WHERE mode & 61440 <> 16384 AND inode.generation <> coalesce(dentry.generation, -1)
           AND NOT EXISTS (SELECT 1 FROM task WHERE task.ino = inode.ino AND kind = 1)
           AND NOT (dentry.key IS NULL  -- a link, to be copied from another name's object
               AND EXISTS (SELECT 1 FROM task WHERE task.ino = inode.ino AND kind = 2)
               AND EXISTS (SELECT 1 FROM dentry AS other
                            WHERE other.ino = inode.ino AND other.generation = inode.generation))""",
    # A relocation of its directory, or of one above, ends with a look at what it hides.
    "a whiteout for ever": """
        SELECT parent, name FROM dentry WHERE ino IS NULL AND NOT settled
           AND NOT EXISTS (
                SELECT 1 FROM task WHERE shield_parent = dentry.parent AND shield_name = dentry.name
                    OR kind = 3 AND target_parent = dentry.parent AND target_name = dentry.name)
           AND NOT EXISTS (
                WITH RECURSIVE above (ino) AS (
                    SELECT dentry.parent
                    UNION
                    SELECT upper.parent FROM dentry AS upper JOIN above ON upper.ino = above.ino)
                SELECT 1 FROM above JOIN task ON task.ino = above.ino AND task.kind = 3)""",
}
"""What is wrong with the rows that each query finds. `:seq`: no acknowledgement is above it."""

_STUCK = "SELECT task, ino, key, error, attempts FROM task WHERE stuck AND task > :after ORDER BY task LIMIT :count"


def broken_rows(execute: Callable[[str, Mapping[str, object]], Iterable[Row]], seq: int) -> Iterator[str]:
    """Yield a line for each row that breaks what must hold."""
    for what, query in NEVER.items():
        for row in execute(query, {"seq": seq}):
            yield f"{what}: {row}"


def check_rows(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what is wrong with the database itself, and with its rows; nothing else if it can't be read."""
    try:
        damage = [text for (text,) in snapshot.rows("PRAGMA integrity_check(20)") if text != "ok"]
        yield from (Finding(Kind.DATABASE, "namespace.db", text) for text in damage)
        meta: dict[str, Any] = dict(snapshot.rows("SELECT name, value FROM meta"))
        if (version := meta.get("schema_version")) != SCHEMA_VERSION:
            yield Finding(Kind.VERSION, "namespace.db", f"schema {version}, this one has {SCHEMA_VERSION}")
            return
        for line in broken_rows(snapshot.rows, meta["seq_reserved"]):
            yield Finding(Kind.ROWS, "namespace.db", line)
    except NamespaceError as exc:
        yield Finding(Kind.DATABASE, "namespace.db", str(exc))


def check_stuck(snapshot: Snapshot) -> Iterator[Finding]:
    """Yield what the store refuses."""
    for page in snapshot.pages(_STUCK):
        for _, ino, key, error, attempts in page:
            where = str(key) if ino is None else snapshot.path_of(ino)
            yield Finding(Kind.STUCK, where, f"{error or 'refused'} ({attempts} attempts)")


def is_sound(snapshot: Snapshot, url: str) -> bool:
    """Whether a namespace over the store `url` may be opened for repairs, unchanged by that.

    Raises:
        NamespaceError: it belongs to another store.
    """
    try:
        version = snapshot.first("SELECT value FROM meta WHERE name = 'schema_version'")
        store = snapshot.first("SELECT url FROM store")
    except NamespaceError:
        return False
    if store is not None and store[0] != url:
        raise NamespaceError(f"this state belongs to {store[0]}, not to {url}")
    return version == (SCHEMA_VERSION,)
