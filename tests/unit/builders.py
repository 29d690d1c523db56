"""A namespace to experiment on, a few verbs that read well in tests, and the checker of its invariants."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fusecache.doctor.rows import broken_rows
from fusecache.namespace.closes import Closed
from fusecache.namespace.drain import Started
from fusecache.namespace.lower import Defaults, Evidence, LowerObject, LowerPrefix
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Dentry, Inode, Place, Task, TaskKind
from fusecache.namespace.relocations import Relocated
from fusecache.namespace.tree import Owner
from fusecache.types import ROOT_INO, ETag, InodeNo, LowerId, ObjectKey, Seq

DELAY_NS = 1_000
"""The delay before an upload, in the time of these tests."""
FILE = Owner(stat.S_IFREG | 0o644, 1000, 1000)
DIRECTORY = Owner(stat.S_IFDIR | 0o755, 1000, 1000)
DEFAULTS = Defaults(uid=1, gid=2, file_mode=0o640, dir_mode=0o750)
URL = "s3://bucket/prefix"


def staging(names: list[bytes]) -> bool:
    return b"_temporary" in names[:-1]  # a directory of that name, as the pattern `_temporary/` says


class Upper:
    """A namespace whose time is a counter, driven by paths as text."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ns = 10_000_000
        self._lost: list[Namespace] = []
        self.ns = self._open()

    def _open(self) -> Namespace:
        return Namespace(
            self.path,
            url=URL,
            boot_id="boot",
            delay_ns=DELAY_NS,
            defaults=DEFAULTS,
            is_staging=staging,
            now_ns=self.now_ns,
        )

    def crash(self) -> None:
        """Lose what is in memory, keep what is committed, and open again. Nothing of the old one is closed."""
        self._lost.append(self.ns)
        self.ns = self._open()

    def close(self) -> None:
        for namespace in (self.ns, *self._lost):
            namespace.close()

    # --- looking ---

    def place(self, path: str) -> Place:
        """The place of a path; the directories above it must be there."""
        *above, name = path.strip("/").encode().split(b"/")
        ino = ROOT_INO
        for each in above:
            dentry = self.ns.tables.dentries.get(ino, each)
            assert dentry is not None
            assert dentry.ino is not None
            ino = dentry.ino
        return Place(ino, name)

    def dentry(self, path: str) -> Dentry | None:
        return self.ns.tables.dentries.get(*self.place(path))

    def live(self, path: str) -> Dentry:
        dentry = self.dentry(path)
        assert dentry is not None
        assert dentry.ino is not None
        return dentry

    def ino(self, path: str) -> InodeNo:
        ino = self.live(path).ino
        assert ino is not None
        return ino

    def inode(self, path: str) -> Inode:
        return self.ns.tables.inodes.get(self.ino(path))

    def state(self, path: str) -> str:
        """What is known of a name: `live`, `hidden`, `settled` or `absent`."""
        dentry = self.dentry(path)
        if dentry is None:
            return "absent"
        if dentry.ino is not None:
            return "live"
        return "settled" if dentry.settled else "hidden"

    def tasks(self) -> list[Task]:
        rows = self.ns.database.connection.execute(f"SELECT {', '.join(Task._fields)} FROM task ORDER BY task")
        return [Task._make(row) for row in rows]

    def todo(self) -> list[str]:
        """The tasks, without the markers: `upload 7`, `delete a/b`, `delete a/b (parked)`."""
        wanted = [task for task in self.tasks() if task.kind != TaskKind.MARKER]
        return sorted(describe(task) for task in wanted)

    def task(self, kind: TaskKind, path: str) -> Task:
        task = self.ns.tables.tasks.of_inode(self.ino(path), kind)
        assert task is not None
        return task

    # --- applications ---

    def tick(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def create(self, path: str) -> InodeNo:
        """Make a file and leave it open."""
        return self.ns.tree.create(self.place(path), FILE, now_ns=self.tick()).ino

    def write(self, path: str) -> InodeNo:
        """Make or change a file of one more byte, and close it."""
        if self.state(path) == "live":
            ino = self.ino(path)
            self.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=self.tick())
        else:
            ino = self.create(path)
        self.close_file(ino)
        return ino

    def close_file(self, ino: InodeNo) -> None:
        inode = self.ns.tables.inodes.get(ino)
        written = inode._replace(size=inode.size + 1, mtime_ns=self.tick())
        self.ns.closes.commit([Closed(written)], now_ns=self.now_ns)

    def mkdir(self, path: str) -> InodeNo:
        return self.ns.tree.mkdir(self.place(path), DIRECTORY, now_ns=self.tick()).ino

    def unlink(self, path: str, *, keep: bool = False) -> Inode:
        return self.ns.tree.unlink(self.place(path), now_ns=self.tick(), keep=keep)

    def rmdir(self, path: str) -> None:
        self.ns.tree.rmdir(self.place(path), now_ns=self.tick())

    def rename(self, old: str, new: str, *, keep: bool = False) -> Inode | None:
        return self.ns.tree.rename(self.place(old), self.place(new), now_ns=self.tick(), keep=keep)

    # --- the persister ---

    def start(self, path: str, kind: TaskKind = TaskKind.UPLOAD) -> Started:
        """Begin the task of a name, towards the key that belongs to it."""
        place = self.place(path)
        key = self.ns.tables.directories.home_key(place)
        if kind in (TaskKind.MARKER, TaskKind.RELOCATE):
            key = ObjectKey(key + "/")
        if kind == TaskKind.MARKER:
            place = Place(self.ino(path), b"")
        return self.ns.drain.start(self.task(kind, path), place, key, now_ns=self.tick())

    def upload(self, path: str, etag: str = "e1") -> LowerId:
        """Bring a file into the store, as the persister does."""
        started, inode = self.start(path), self.inode(path)
        lower = self.lower_id(started.key, etag)
        self.ns.drain.uploaded(started, lower, inode, now_ns=self.tick())
        return lower

    def copied(self, started: Started, lower: LowerId) -> None:
        """An object with the bytes that the inode's first name has in the store arrived at `lower`."""
        assert started.task.ino is not None
        rows = self.ns.tables.dentries.of_inode(started.task.ino)
        generation = next((row.generation for row in rows if row.generation is not None), 0)
        self.ns.drain.copied(started, lower, generation=generation, now_ns=self.tick())

    def copy(self, path: str, etag: str = "c1") -> LowerId:
        """Copy a name's object to where it belongs."""
        started = self.start(path, TaskKind.COPY)
        lower = self.lower_id(started.key, etag)
        self.copied(started, lower)
        return lower

    def mark(self, path: str) -> None:
        self.ns.drain.marker_written(self.start(path, TaskKind.MARKER), now_ns=self.tick())

    def relocate(self, path: str, children: Sequence[str] = ()) -> None:
        """Copy what is known below a renamed directory, and what the store alone has; read it there; end."""
        started = self.start(path, TaskKind.RELOCATE)
        assert started.task.source is not None
        page = [
            Relocated(
                ObjectKey(started.task.source + name),
                ETag("e"),
                self.place(f"{path}/{name}"),
                self.lower_id(f"{path}/{name}", "c"),
            )
            for name in children
        ]
        relocations = self.ns.drain.relocations
        relocations.relocated(started.task, page, "position", now_ns=self.tick())
        relocations.flipped(started.task, now_ns=self.tick())
        relocations.relocated_all(self.task(TaskKind.RELOCATE, path), now_ns=self.tick())

    def carry_out_deletes(self, *, but: str = "") -> set[str]:
        """Carry out the deletes that are not parked and that nobody reads; returns their keys."""
        tables = self.ns.tables
        ready = [
            task
            for task in self.tasks()
            if task.kind == TaskKind.DELETE and task.due_ns is not None and task.key is not None
            if task.key != but and not tables.dentries.readers(task.store, task.key)
        ]
        if ready:
            self.ns.drain.deleted(ready, now_ns=self.tick())
        return {str(task.key) for task in ready}

    def persist(self, path: str, etag: str = "e1") -> InodeNo:
        """A file that is clean: written, closed, uploaded."""
        ino = self.write(path)
        self.upload(path, etag)
        return ino

    # --- what the store shows ---

    @property
    def epoch(self) -> Seq:
        """What a request that begins now carries."""
        return self.ns.database.seq

    def lower_id(self, key: str, etag: str) -> LowerId:
        return LowerId(self.ns.store, ObjectKey(key), ETag(etag))

    def show(self, path: str, evidence: Evidence, epoch: Seq | None = None) -> Dentry | None:
        """Take in what a request, begun now or at `epoch`, told of a name."""
        place = self.place(path)
        at = self.epoch if epoch is None else epoch
        return self.ns.lower.merge(place.parent, [(place.name, evidence)], epoch=at)[0]

    def foreign(self, path: str, etag: str = "f1") -> InodeNo:
        """A file that somebody else put into the store."""
        row = self.show(path, an_object(path, etag))
        assert row is not None
        assert row.ino is not None
        return row.ino

    def foreign_dir(self, path: str) -> InodeNo:
        row = self.show(path, LowerPrefix(path + "/"))
        assert row is not None
        assert row.ino is not None
        return row.ino


def an_object(key: str, etag: str = "f1", *, size: int = 7) -> LowerObject:
    return LowerObject(ObjectKey(key), size, ETag(etag), 5_000)


def describe(task: Task) -> str:
    what = str(task.key) if task.kind == TaskKind.DELETE else str(task.ino)
    if task.source is not None:
        what += f" from {task.source}"
    parked = " (staged)" if task.staged else " (parked)" if task.due_ns is None else ""
    return f"{TaskKind(task.kind).name.lower()} {what}{parked}"


def rows_of(upper: Upper) -> dict[str, list[tuple[object, ...]]]:
    """Everything the database holds, to be compared."""
    db = upper.ns.database.connection
    tables = ("inode", "dentry", "directory", "task", "store")
    return {table: db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


def count_statements(upper: Upper, act: Callable[[], object]) -> dict[str, int]:
    """How many statements `act` runs, and how many of them commit."""
    seen: list[str] = []
    db = upper.ns.database.connection
    db.set_trace_callback(seen.append)
    try:
        act()
    finally:
        db.set_trace_callback(None)
    return {"statements": len(seen), "commits": seen.count("COMMIT")}


# --- the checker ---


def check(namespace: Namespace) -> None:
    """Assert what must hold between any two transactions."""
    broken = broken_rows(namespace.database.connection.execute, namespace.database.seq)
    found = [*broken, *_left_behind(namespace), *_stale_caches(namespace), *_miscounted(namespace)]
    assert not found, "\n".join(found)
    assert namespace.database.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not namespace.database.connection.in_transaction


def _left_behind(namespace: Namespace) -> Iterator[str]:
    """What is elsewhere than at home, with no task of its own, and follows no relocation above it."""
    tables, db = namespace.tables, namespace.database.connection
    files = "SELECT parent, key, name FROM dentry WHERE key IS NOT NULL AND ino NOT IN"
    for parent, key, name in db.execute(f"{files} (SELECT ino FROM task WHERE kind IN (1, 2))").fetchall():
        # The end of any relocation above looks for such.
        if key != tables.directories.home_key(Place(parent, name)) and not _moving(namespace, parent):
            yield f"an object left behind at {key}: {name!r} in {parent}"
    moved = "SELECT ino, prefix FROM directory WHERE ino <> 1 AND prefix IS NOT NULL AND ino NOT IN"
    for ino, prefix in db.execute(f"{moved} (SELECT ino FROM task WHERE kind = 3)").fetchall():
        moving = _moving(namespace, tables.directories.get(ino).parent)
        follows = any(prefix.startswith(each) for task in moving for each in (task.source, task.key) if each)
        if not follows and (moving or prefix != tables.directories.home_prefix(ino)):
            yield f"a directory left behind at {prefix}: {ino}"


def _moving(namespace: Namespace, parent: InodeNo) -> list[Task]:
    """The relocations of a directory and of those above it."""
    chain = (parent, *namespace.tables.directories.ancestors(parent))
    found = [namespace.tables.tasks.of_inode(ino, TaskKind.RELOCATE) for ino in chain]
    return [task for task in found if task is not None]


def _stale_caches(namespace: Namespace) -> Iterator[str]:
    """Rows in memory that are not those in the database."""
    inodes, directories = namespace.tables.inodes, namespace.tables.directories
    for row in namespace.database.connection.execute("SELECT * FROM inode").fetchall():
        if inodes.get(row[0]) != Inode._make(row):
            yield f"inode {row[0]} in memory is another: {inodes.get(row[0])} for {row}"
    for row in namespace.database.connection.execute("SELECT * FROM directory").fetchall():
        if directories.get(row[0])[:7] != row:
            yield f"directory {row[0]} in memory is another: {directories.get(row[0])} for {row}"
    one = f"SELECT {', '.join(Dentry._fields)} FROM dentry WHERE parent = ? AND name = ?"
    for key, known in namespace.tables.dentries._known.items():
        if known != (row := namespace.database.connection.execute(one, key).fetchone()):
            yield f"name {key} in memory is another: {known} for {row}"


def _miscounted(namespace: Namespace) -> Iterator[str]:
    """A backlog that is not what the rows add up to."""
    query = """
        SELECT count(*), coalesce(sum(CASE WHEN kind = 1 THEN size END), 0), coalesce(sum(stuck > 0), 0)
          FROM task LEFT JOIN inode ON inode.ino = task.ino WHERE staged = ?"""
    backlog = namespace.tables.backlog
    for staged, told in enumerate((backlog.dirty(), backlog.local())):
        there = namespace.database.connection.execute(query, (staged,)).fetchone()
        if told != there:
            yield f"a backlog of {told} instead of {there}"
