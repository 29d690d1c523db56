"""Tasks: what the store still lacks."""

from __future__ import annotations

from collections.abc import Iterable

from fusecache.namespace.database import Database
from fusecache.namespace.keys import after
from fusecache.namespace.records import Place, Task, TaskKind
from fusecache.types import ETag, InodeNo, ObjectKey, Seq, StoreNo

_COLUMNS = ", ".join(Task._fields)
_DUE = f"""
    SELECT {_COLUMNS} FROM task
     WHERE due_ns <= :now_ns AND seq <= :synced_seq ORDER BY due_ns LIMIT :count"""
# One row an inode and kind: a newer acknowledgement moves seq and generation, never since_seq.
_UPSERT = """
    INSERT INTO task (kind, ino, store, source,
        generation, seq, since_seq, due_ns, since_ns, shield_parent, shield_name)
    VALUES (:kind, :ino, :store, :source, 1, :seq, :seq, :due_ns, :now_ns, :shield_parent, :shield_name)
    ON CONFLICT (ino, kind) WHERE ino IS NOT NULL DO UPDATE SET
        generation = generation + 1, seq = excluded.seq, due_ns = excluded.due_ns,
        stuck = 0, attempts = 0, error = NULL,
        source = coalesce(source, excluded.source),
        staged = CASE WHEN excluded.due_ns IS NULL THEN staged ELSE 0 END"""
_DELETE_KEY = """
    INSERT INTO task (kind, store, key, etag, generation, seq, since_seq, due_ns, since_ns, shield_parent, shield_name)
    VALUES (5, :store, :key, :etag, 1, :seq, :seq, :due_ns, :now_ns, :shield_parent, :shield_name)"""
_CLOSED = """
    UPDATE task SET generation = generation + 1, seq = :seq, staged = 0,
           due_ns = min(:due_ns, since_ns + :cap_ns) WHERE ino = :ino AND kind = 1"""
_RECORDED = "UPDATE task SET key = ?, target_parent = ?, target_name = ? WHERE task = ?"
# A change while it was in flight raised `generation`: then the row stays, for what came later.
_DONE = "DELETE FROM task WHERE task = ? AND generation = ?"
_AGAIN = (
    "UPDATE task SET key = NULL, target_parent = NULL, target_name = NULL, since_seq = ?, attempts = 0 WHERE task = ?"
)
_FAILED = """
    UPDATE task SET attempts = attempts + 1, error = ?, stuck = ?, due_ns = ?
     WHERE task = ? AND due_ns IS NOT NULL"""
_RELEASE = "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND store = ? AND key = ?"
_RELEASE_BELOW = "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND store = ? AND key >= ? AND key < ?"
_RELEASE_SHIELDED = (
    "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND shield_parent = ? AND shield_name = ?"
)
_DELETES_BELOW = "SELECT 1 FROM task WHERE kind = 5 AND store = ? AND key >= ? AND key < ? LIMIT 1"
_RECOVER = "UPDATE task SET due_ns = ? WHERE due_ns IS NULL AND staged = 0 AND kind = 1"


class Tasks:
    """The table `task`. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection

    # --- asking ---

    def due(self, *, now_ns: int, synced_seq: Seq, count: int) -> list[Task]:
        """The tasks that may be carried out now, the longest due first."""
        rows = self._db.execute(_DUE, {"now_ns": now_ns, "synced_seq": synced_seq, "count": count})
        return [Task._make(row) for row in rows]

    def next_due_ns(self) -> int | None:
        """Wall time at which the next task falls due; None if none is waiting."""
        row = self._db.execute("SELECT min(due_ns) FROM task WHERE due_ns IS NOT NULL").fetchone()
        return None if row is None else row[0]

    def get(self, task: int) -> Task | None:
        return self._one("task = ?", task)

    def of_inode(self, ino: InodeNo, kind: TaskKind) -> Task | None:
        return self._one("ino = ? AND kind = ?", ino, kind)

    def all_of_inode(self, ino: InodeNo) -> list[Task]:
        return self._all("ino = ?", ino)

    def shielded_by(self, place: Place) -> list[Task]:
        """What must end before the whiteout at `place` may go."""
        return self._all("shield_parent = ? AND shield_name = ?", *place)

    def deletes_of(self, store: StoreNo, key: str) -> list[Task]:
        return self._all("store = ? AND key = ? AND kind = 5", store, key)

    def has_delete_below(self, store: StoreNo, prefix: str) -> bool:
        return self._db.execute(_DELETES_BELOW, (store, prefix, after(prefix))).fetchone() is not None

    def reading_from(self, store: StoreNo, source: str) -> list[Task]:
        """Copies and relocations whose source is exactly this key or prefix."""
        return self._all("store = ? AND source = ?", store, source)

    def since(self, seq: Seq) -> list[Task]:
        """Unfinished business acknowledged up to `seq`, oldest first."""
        return self._all("since_seq <= ? ORDER BY since_seq", seq)

    def first_unfinished(self, *, before: Seq, not_in: set[int]) -> Iterable[Task]:
        """Tasks acknowledged before `before`, oldest first, lazily."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM task WHERE since_seq < ? ORDER BY since_seq", (before,))
        return (task for row in rows if (task := Task._make(row)).task not in not_in)

    def stuck(self) -> list[Task]:
        return self._all("stuck = 1")

    # --- changing ---

    def want(
        self,
        kind: TaskKind,
        ino: InodeNo,
        store: StoreNo,
        *,
        seq: Seq,
        due_ns: int | None,
        now_ns: int,
        source: str | None = None,
        shield: Place | None = None,
    ) -> None:
        """Note that something about `ino` has to be done; one task an inode and kind."""
        parent, name = shield if shield is not None else (None, None)
        row = {"kind": kind, "ino": ino, "store": store, "source": source, "seq": seq, "due_ns": due_ns}
        self._db.execute(_UPSERT, {**row, "now_ns": now_ns, "shield_parent": parent, "shield_name": name})

    def want_deleted(
        self,
        store: StoreNo,
        key: str,
        *,
        etag: ETag | None,
        seq: Seq,
        due_ns: int | None,
        now_ns: int,
        shield: Place | None,
    ) -> None:
        """Note that `key` has to go; `due_ns` None while somebody still reads it."""
        if any(task.shield == shield for task in self.deletes_of(store, key)):
            return
        parent, name = shield if shield is not None else (None, None)
        row = {"store": store, "key": key, "etag": etag, "seq": seq, "due_ns": due_ns, "now_ns": now_ns}
        self._db.execute(_DELETE_KEY, {**row, "shield_parent": parent, "shield_name": name})

    def closed(self, ino: InodeNo, *, seq: Seq, due_ns: int, cap_ns: int) -> bool:
        """The parked upload of `ino` falls due, at most `cap_ns` after its first change; False if there is none."""
        row = {"ino": ino, "seq": seq, "due_ns": due_ns, "cap_ns": cap_ns}
        return self._db.execute(_CLOSED, row).rowcount == 1

    def record_target(self, task: Task, key: ObjectKey, place: Place | None) -> Task:
        """Record, before the first request, which key may come to exist."""
        parent, name = place if place is not None else (None, None)
        self._db.execute(_RECORDED, (key, parent, name, task.task))
        return task._replace(key=key, target_parent=parent, target_name=name)

    def done(self, task: Task, *, started_seq: Seq) -> bool:
        """Forget `task`; False if it was wanted again while it was in flight: then only what came later is left."""
        if self._db.execute(_DONE, (task.task, task.generation)).rowcount == 1:
            return True
        self._db.execute(_AGAIN, (started_seq + 1, task.task))
        return False

    def drop(self, task: int) -> None:
        self._db.execute("DELETE FROM task WHERE task = ?", (task,))

    def failed(self, task: int, *, error: str, stuck: bool, due_ns: int) -> None:
        """Try again at `due_ns`; a task that was parked meanwhile stays parked."""
        self._db.execute(_FAILED, (error, stuck, due_ns, task))

    def postpone(self, task: int, due_ns: int | None) -> None:
        self._db.execute("UPDATE task SET due_ns = ? WHERE task = ?", (due_ns, task))

    def stage(self, task: int) -> None:
        """Park it for as long as its name is below a staging name."""
        self._db.execute("UPDATE task SET due_ns = NULL, staged = 1 WHERE task = ?", (task,))

    def unstage(self, task: int, *, seq: Seq, due_ns: int) -> None:
        """Its name left staging: that rename is the acknowledgement it stands for."""
        row = (due_ns, seq, seq, task)
        self._db.execute("UPDATE task SET due_ns = ?, staged = 0, seq = ?, since_seq = ? WHERE task = ?", row)

    def move(self, task: int, position: str) -> None:
        self._db.execute("UPDATE task SET position = ? WHERE task = ?", (position, task))

    def reads(self, task: int, source: str) -> None:
        """A copy's source is elsewhere now."""
        self._db.execute("UPDATE task SET source = ? WHERE task = ?", (source, task))

    def release(self, store: StoreNo, key: str, due_ns: int) -> None:
        """Nobody reads `key` any more: its parked delete falls due."""
        self._db.execute(_RELEASE, (due_ns, store, key))

    def release_below(self, store: StoreNo, prefix: str, due_ns: int) -> None:
        self._db.execute(_RELEASE_BELOW, (due_ns, store, prefix, after(prefix)))

    def release_shielded(self, place: Place, due_ns: int) -> None:
        """What was to be overwritten under this name won't be: delete it."""
        self._db.execute(_RELEASE_SHIELDED, (due_ns, *place))

    def recover(self, due_ns: int) -> None:
        """After a restart nothing is open for writing: such uploads fall due."""
        self._db.execute(_RECOVER, (due_ns,))

    def shield_instead(self, removed: InodeNo, place: Place) -> None:
        """The directory `removed` is gone: what names in it shielded is shielded by its own name."""
        row = (*place, removed)
        self._db.execute("UPDATE task SET shield_parent = ?, shield_name = ? WHERE shield_parent = ?", row)

    def parked_uploads(self) -> list[Task]:
        """Files that were open for writing when the daemon ended."""
        return self._all("due_ns IS NULL AND staged = 0 AND kind = 1")

    def _one(self, where: str, *values: object) -> Task | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM task WHERE {where}", values).fetchone()
        return None if row is None else Task._make(row)

    def _all(self, where: str, *values: object) -> list[Task]:
        return [Task._make(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM task WHERE {where}", values)]
