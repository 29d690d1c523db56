"""Tasks: what the store still lacks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from fusecache.namespace.database import Database
from fusecache.namespace.keys import after
from fusecache.namespace.records import Place, Removal, Stuck, Task, TaskKind
from fusecache.types import ETag, InodeNo, ObjectKey, Seq, StoreNo

HURRIED_NS = 0
"""When a task is due that somebody waits for: before every other, the longest known first."""
PAUSED_NS = 1 << 62
"""When a paused task is due: never, until it is resumed."""
_COLUMNS = ", ".join(Task._fields)
_DUE = f"""
    SELECT {_COLUMNS} FROM task
     WHERE due_ns <= :now_ns AND kind <> 5 AND seq <= :synced_seq ORDER BY due_ns"""
_DELETES_DUE = f"""
    SELECT {_COLUMNS} FROM task
     WHERE due_ns <= :now_ns AND kind = 5 AND seq <= :synced_seq ORDER BY due_ns"""
_DELETES_AFTER = f"SELECT {', '.join(Removal._fields)} FROM task WHERE kind = 5 AND task > ? ORDER BY task LIMIT ?"
_NEXT_DUE = f"""
    SELECT min(due_ns) FROM (
        SELECT min(due_ns) AS due_ns FROM task WHERE due_ns > :now_ns AND due_ns < {PAUSED_NS} AND kind <> 5 UNION ALL
        SELECT min(due_ns) FROM task WHERE due_ns > :now_ns AND due_ns < {PAUSED_NS} AND kind = 5)"""
_LOCAL = "SELECT task, ino FROM task WHERE staged = 1 AND kind = 1 AND task > ? ORDER BY task LIMIT ?"
# A statement a kind: where a value is bound to what a partial index compares, SQLite prepares it anew for each value.
_OF_INODE = {kind: f"SELECT {_COLUMNS} FROM task WHERE ino = ? AND kind = {kind:d}" for kind in TaskKind}
_UNFINISHED = f"""
    SELECT {_COLUMNS} FROM task WHERE since_seq >= ? AND since_seq < ? AND staged = 0 ORDER BY since_seq"""
# One row an inode and kind: a newer acknowledgement moves seq and generation, never since_seq. A file's object
# may be elsewhere by now than where a pending copy would read it; a directory is read where it was.
_UPSERT = """
    INSERT INTO task (task, kind, ino, store, source, attributes,
        generation, seq, since_seq, due_ns, since_ns, shield_parent, shield_name, flow)
    VALUES (:task, :kind, :ino, :store, :source, :attributes,
        1, :seq, :since_seq, :due_ns, :now_ns, :shield_parent, :shield_name,
        (SELECT parent FROM dentry WHERE ino = :ino LIMIT 1))
    ON CONFLICT (ino, kind) WHERE ino IS NOT NULL DO UPDATE SET
        generation = generation + 1, seq = excluded.seq, due_ns = excluded.due_ns,
        stuck = 0, attempts = 0, error = NULL,
        source = CASE WHEN kind = 2 THEN coalesce(excluded.source, source) ELSE coalesce(source, excluded.source) END,
        since_seq = min(since_seq, excluded.since_seq),
        attributes = max(attributes, excluded.attributes),
        staged = 0"""
_DELETE_KEY = """
    INSERT INTO task (task, kind, store, key, etag, unsure,
        generation, seq, since_seq, due_ns, since_ns, shield_parent, shield_name)
    VALUES (:task, 5, :store, :key, :etag, :unsure,
        1, :seq, :since_seq, :due_ns, :now_ns, :shield_parent, :shield_name)"""
_MEANT = """
    UPDATE task SET etag = coalesce(?, etag), unsure = max(unsure, ?), generation = generation + 1 WHERE task = ?"""
_RECORDED = "UPDATE task SET key = ?, target_parent = ?, target_name = ? WHERE task = ?"
# A change while it was in flight raised `generation`: then the row stays, for what came later.
_DONE = "DELETE FROM task WHERE task = ? AND generation = ?"
_AGAIN = """
    UPDATE task SET key = NULL, target_parent = NULL, target_name = NULL, attempts = 0,
           since_seq = ?, since_ns = ?, seq = ? WHERE task = ?"""
_NEXT_NAME = """
    UPDATE task SET key = NULL, target_parent = NULL, target_name = NULL, attempts = 0,
           due_ns = min(due_ns, ?) WHERE task = ?"""
_FAILED = """
    UPDATE task SET attempts = attempts + 1, error = ?, stuck = ?, due_ns = ?
     WHERE task = ? AND due_ns IS NOT NULL"""
_ARRIVED = "UPDATE task SET source = ?, position = NULL, shield_parent = ?, shield_name = ? WHERE task = ?"
_RELEASE = "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND store = ? AND key = ?"
_RELEASE_BELOW = "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND store = ? AND key >= ? AND key < ?"
_RELEASE_SHIELDED = (
    "UPDATE task SET due_ns = ? WHERE kind = 5 AND due_ns IS NULL AND shield_parent = ? AND shield_name = ?"
)
# The highest of 1 for a parked delete and 0 for anything else; NULL: nothing is shielded.
_SHIELDED = """
    SELECT max(kind = 5 AND due_ns IS NULL) FROM task
     WHERE shield_parent = ? AND shield_name = ? OR kind = 3 AND target_parent = ? AND target_name = ?"""
_DROP_PARKED_BELOW = (
    "DELETE FROM task WHERE kind = 5 AND due_ns IS NULL AND store = ? AND key >= ? AND key < ?"
    " AND shield_parent = ? AND shield_name = ?"
)
_LEAVING = "SELECT 1 FROM task WHERE kind = {kind} AND store = ? AND due_ns IS NOT NULL LIMIT 1"
_DELETES_BELOW = "SELECT 1 FROM task WHERE kind = 5 AND store = ? AND key >= ? AND key < ? LIMIT 1"
_RECOVER = "UPDATE task SET due_ns = ? WHERE due_ns IS NULL AND staged = 0 AND kind = 1 AND ino NOT IN "


class Tasks:
    """The table `task`. The caller owns the transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection
        self._database = database

    # --- asking ---

    def due(self, *, now_ns: int, synced_seq: Seq) -> Iterable[Task]:
        """The tasks that may be carried out now, the longest due first, lazily. Without deletes.

        To be finished with before anything is changed.
        """
        return map(Task._make, self._db.execute(_DUE, {"now_ns": now_ns, "synced_seq": synced_seq}))

    def deletes_due(self, *, now_ns: int, synced_seq: Seq) -> Iterable[Task]:
        """The deletes that may be carried out now, likewise."""
        return map(Task._make, self._db.execute(_DELETES_DUE, {"now_ns": now_ns, "synced_seq": synced_seq}))

    def next_due_ns(self, *, after_ns: int) -> int | None:
        """Wall time at which the next task falls due, of those that are not yet; None if none is waiting."""
        due_ns: int | None = self._db.execute(_NEXT_DUE, {"now_ns": after_ns}).fetchone()[0]
        return due_ns

    def get(self, task: int) -> Task | None:
        return self._one("task = ?", task)

    def of_inode(self, ino: InodeNo, kind: TaskKind) -> Task | None:
        row = self._db.execute(_OF_INODE[kind], (ino,)).fetchone()
        return None if row is None else Task._make(row)

    def all_of_inode(self, ino: InodeNo) -> list[Task]:
        return self._all("ino = ?", ino)

    def shielded_by(self, place: Place) -> list[Task]:
        """What must end before the whiteout at `place` may go.

        A relocation too that copies below this name, if its directory was renamed on meanwhile.
        """
        where = "shield_parent = ? AND shield_name = ? OR kind = 3 AND target_parent = ? AND target_name = ?"
        return self._all(where, *place, *place)

    def has_shielded(self, place: Place) -> bool:
        """Whether `shielded_by` gives any."""
        return self._db.execute(_SHIELDED, (*place, *place)).fetchone()[0] is not None

    def deletes_of(self, store: StoreNo, key: str) -> list[Task]:
        return self._all("store = ? AND key = ? AND kind = 5", store, key)

    def deletes_after(self, task: int, *, count: int) -> list[Removal]:
        """The first `count` deletes above a task number."""
        return list(map(Removal._make, self._db.execute(_DELETES_AFTER, (task, count))))

    def has_target(self, store: StoreNo, key: str) -> bool:
        """Whether a task has recorded that it makes, or deletes, exactly this key."""
        return self._one("store = ? AND key = ?", store, key) is not None

    def is_leaving(self, store: StoreNo) -> bool:
        """Whether keys are still on their way out."""
        return any(self._db.execute(_LEAVING.format(kind=kind), (store,)).fetchone() for kind in (3, 5))

    def has_delete_below(self, store: StoreNo, prefix: str) -> bool:
        return self._db.execute(_DELETES_BELOW, (store, prefix, after(prefix))).fetchone() is not None

    def going_below(self, store: StoreNo, prefix: str) -> list[Task]:
        """Deletes of keys, and relocations of trees, below `prefix`."""
        bounds = (store, prefix, after(prefix))
        return self._all(
            "kind = 5 AND store = ? AND key >= ? AND key < ? OR kind = 3 AND store = ? AND source > ? AND source < ?",
            *bounds, *bounds,
        )  # fmt: skip

    def arriving_below(self, store: StoreNo, prefix: str) -> list[Task]:
        """What has recorded that it makes a key, or a tree, below `prefix`."""
        return self._all("kind <> 5 AND store = ? AND key >= ? AND key < ?", store, prefix, after(prefix))

    def since(self, seq: Seq, *, after_task: int, count: int) -> list[Task]:
        """Unfinished business acknowledged up to `seq`: the first `count` above a task number."""
        return self._all("since_seq <= ? AND task > ? ORDER BY task LIMIT ?", seq, after_task, count)

    def local_files(self, *, after_task: int, count: int) -> list[tuple[int, InodeNo]]:
        """Uploads that are parked as their names are staging or local: task and inode of the first above a task."""
        return self._db.execute(_LOCAL, (after_task, count)).fetchall()

    def unfinished(self, *, first: Seq, before: Seq) -> Iterable[Task]:
        """What is not only local and was acknowledged from `first` on and before `before`, oldest first, lazily."""
        return map(Task._make, self._db.execute(_UNFINISHED, (first, before)))

    def any_delete_of(self, store: StoreNo, keys: Sequence[str]) -> bool:
        """Whether one of these keys has to go."""
        marks = ", ".join("?" * len(keys))
        statement = f"SELECT 1 FROM task WHERE kind = 5 AND store = ? AND key IN ({marks}) LIMIT 1"
        return self._db.execute(statement, (store, *keys)).fetchone() is not None

    def has_relocations(self) -> bool:
        return self._db.execute("SELECT 1 FROM task WHERE kind = 3 LIMIT 1").fetchone() is not None

    def relocated(self) -> set[InodeNo]:
        """The directories that have a relocation."""
        return {row[0] for row in self._db.execute("SELECT ino FROM task WHERE kind = 3")}

    def relocations_over(self, store: StoreNo, prefixes: Sequence[str]) -> list[Task]:
        """Relocations whose source, or recorded target, is one of these prefixes."""
        marks = ", ".join("?" * len(prefixes))
        return self._all(
            f"kind = 3 AND store = ? AND source IN ({marks}) OR kind = 3 AND store = ? AND key IN ({marks})",
            store, *prefixes, store, *prefixes,
        )  # fmt: skip

    def relocations_below(self, store: StoreNo, prefix: str) -> list[Task]:
        """Relocations whose source, or recorded target, lies below `prefix`."""
        bounds = (store, prefix, after(prefix))
        return self._all(
            "kind = 3 AND store = ? AND source > ? AND source < ? OR kind = 3 AND store = ? AND key > ? AND key < ?",
            *bounds, *bounds,
        )  # fmt: skip

    def stuck(self, *, after_task: int = 0, count: int = -1) -> list[Task]:
        """The first `count` above a task number that need somebody to act; all, without."""
        return self._all("stuck > 0 AND task > ? ORDER BY task LIMIT ?", after_task, count)

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
        since_seq: Seq | None = None,
        attributes: bool = False,
    ) -> None:
        """Note that something about `ino` has to be done; one task an inode and kind.

        `since_seq`: of the acknowledgement that it goes back to, if that is an earlier one than `seq`.
        """
        parent, name = shield if shield is not None else (None, None)
        row: dict[str, object] = {"kind": int(kind), "ino": ino, "store": store, "source": source}
        row |= {"seq": seq, "due_ns": due_ns}
        row |= {"since_seq": seq if since_seq is None else since_seq, "attributes": int(attributes)}
        row |= {"task": self._database.next_seq(), "now_ns": now_ns, "shield_parent": parent, "shield_name": name}
        self._db.execute(_UPSERT, row)

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
        since_seq: Seq | None = None,
        is_unsure: bool = False,
    ) -> None:
        """Note that `key` has to go; `due_ns` None while somebody still reads it. `since_seq` as in `want`.

        `is_unsure`, or no `etag`: also what a request of ours has made there, whose answer is not known.
        """
        unsure = int(is_unsure or etag is None)
        for task in self.deletes_of(store, key):
            if task.shield == shield:
                self._db.execute(_MEANT, (etag, unsure, task.task))
                return
        parent, name = shield if shield is not None else (None, None)
        row: dict[str, object] = {"store": store, "key": key, "etag": etag, "unsure": unsure}
        row |= {"seq": seq, "due_ns": due_ns, "now_ns": now_ns}
        row["since_seq"] = seq if since_seq is None else since_seq
        row |= {"task": self._database.next_seq(), "shield_parent": parent, "shield_name": name}
        self._db.execute(_DELETE_KEY, row)

    def record_target(self, task: Task, key: ObjectKey, place: Place | None) -> Task:
        """Record, before the first request, which key may come to exist."""
        parent, name = place if place is not None else (None, None)
        self._db.execute(_RECORDED, (key, parent, name, task.task))
        return task._replace(key=key, target_parent=parent, target_name=name)

    def done(self, task: Task, *, started_seq: Seq, now_ns: int) -> bool:
        """Forget `task`; False if it was wanted again while it was in flight: then only what came later is left."""
        if self._db.execute(_DONE, (task.task, task.generation)).rowcount == 1:
            return True
        # What names have got so far is older than what came later.
        self._db.execute(_AGAIN, (started_seq + 1, now_ns, self._database.next_seq(), task.task))
        return False

    def next_name(self, task: int, now_ns: int) -> None:
        """One name of its inode is finished, others are not."""
        self._db.execute(_NEXT_NAME, (now_ns, task))

    def means(self, task: Task, etag: ETag | None) -> None:
        """A delete is about another version than when it was wanted."""
        if task.etag != etag:
            self._db.execute(_MEANT, (etag, task.unsure, task.task))

    def drop_deleted(self, task: Task) -> bool:
        """Forget a delete that was carried out; False if it means more by now, or is gone."""
        return self._db.execute(_DONE, (task.task, task.generation)).rowcount == 1

    def drop(self, task: int) -> None:
        self._db.execute("DELETE FROM task WHERE task = ?", (task,))

    def failed(self, task: int, *, error: str, stuck: Stuck, due_ns: int) -> None:
        """Try again at `due_ns`; a task that was parked meanwhile stays parked."""
        self._db.execute(_FAILED, (error, stuck, due_ns, task))

    def postpone(self, task: int, due_ns: int | None) -> None:
        self._db.execute("UPDATE task SET due_ns = ? WHERE task = ?", (due_ns, task))

    def put_off(self, task: int, due_ns: int) -> None:
        """Look at it again at `due_ns`, unless it was parked meanwhile."""
        self._db.execute("UPDATE task SET due_ns = ? WHERE task = ? AND due_ns IS NOT NULL", (due_ns, task))

    def stands_for(self, task: int, seq: Seq) -> None:
        """A later acknowledgement, too: what it makes belongs to another name by now."""
        self._db.execute("UPDATE task SET seq = ? WHERE task = ?", (seq, task))

    def goes_back_to(self, task: int, since_seq: Seq) -> None:
        """It stands for an earlier acknowledgement, too."""
        self._db.execute("UPDATE task SET since_seq = min(since_seq, ?) WHERE task = ?", (since_seq, task))

    def hurry(self, task: Task) -> None:
        """It is due before all that nobody waits for, unless it was parked, or refused, meanwhile."""
        row = (HURRIED_NS, task.task, HURRIED_NS, PAUSED_NS, task.attempts)
        where = "task = ? AND due_ns > ? AND due_ns < ? AND attempts = ?"
        self._db.execute(f"UPDATE task SET due_ns = ? WHERE {where}", row)

    def retry(self, task: Task, due_ns: int) -> None:
        """Somebody has acted: what was refused is tried again as if it never had been."""
        row = (due_ns, task.task, PAUSED_NS)
        self._db.execute("UPDATE task SET due_ns = ?, stuck = 0, attempts = 0 WHERE task = ? AND due_ns < ?", row)

    def stage(self, task: int) -> None:
        """Park it for as long as its name is below a staging name."""
        self._db.execute("UPDATE task SET due_ns = NULL, staged = 1 WHERE task = ?", (task,))

    def unstage(self, task: int, *, seq: Seq, due_ns: int) -> None:
        """Its name left staging: that rename is the acknowledgement it stands for."""
        row = (due_ns, seq, seq, task)
        self._db.execute("UPDATE task SET due_ns = ?, staged = 0, seq = ?, since_seq = ? WHERE task = ?", row)

    def settle_at(self, task: Task) -> None:
        """All of a relocation is copied: its target is where the directory reads; strays are looked for."""
        self._db.execute(_ARRIVED, (task.key, *(task.target or (None, None)), task.task))

    def move(self, task: int, position: str) -> None:
        self._db.execute("UPDATE task SET position = ? WHERE task = ?", (position, task))

    def reads(self, ino: InodeNo, source: str) -> None:
        """The object of `ino` is at `source` now: a copy that is still wanted is made from there."""
        self._db.execute("UPDATE task SET source = ? WHERE ino = ? AND kind = 2", (source, ino))

    def release(self, store: StoreNo, key: str, due_ns: int) -> None:
        """Nobody reads `key` any more: its parked delete falls due."""
        self._db.execute(_RELEASE, (due_ns, store, key))

    def release_below(self, store: StoreNo, prefix: str, due_ns: int) -> None:
        self._db.execute(_RELEASE_BELOW, (due_ns, store, prefix, after(prefix)))

    def drop_parked_below(self, store: StoreNo, prefix: str, shield: Place) -> None:
        """Deletes of what a relocation, shielded by that name, has copied: it is read there again."""
        self._db.execute(_DROP_PARKED_BELOW, (store, prefix, after(prefix), *shield))

    def release_shielded(self, place: Place, due_ns: int) -> bool:
        """What was to be overwritten under this name won't be: delete it. True if it shields anything."""
        parked: int | None = self._db.execute(_SHIELDED, (*place, *place)).fetchone()[0]
        if parked:
            self._db.execute(_RELEASE_SHIELDED, (due_ns, *place))
        return parked is not None

    def recover(self, due_ns: int, *, latest_ns: int, still_written: Collection[InodeNo]) -> None:
        """After a restart only these are open for writing: others fall due at `due_ns`; nothing after `latest_ns`."""
        numbers = ", ".join(str(int(ino)) for ino in still_written)
        self._db.execute(f"{_RECOVER} ({numbers})", (due_ns,))
        self._db.execute("UPDATE task SET due_ns = :due_ns WHERE due_ns > :due_ns", {"due_ns": latest_ns})

    def unstage_all(self, due_ns: int) -> None:
        """Whether their names are staging is to be looked at again."""
        self._db.execute("UPDATE task SET due_ns = ?, staged = 0 WHERE staged = 1", (due_ns,))

    def shield(self, task: int, place: Place | None) -> None:
        """Another name hides what it is about."""
        row = (*(place or (None, None)), task)
        self._db.execute("UPDATE task SET shield_parent = ?, shield_name = ? WHERE task = ?", row)

    def shield_instead(self, removed: InodeNo, place: Place) -> None:
        """The directory `removed` is gone: what names in it shielded is shielded by its own name."""
        row = (*place, removed)
        self._db.execute("UPDATE task SET shield_parent = ?, shield_name = ? WHERE shield_parent = ?", row)
        self._db.execute("UPDATE task SET target_parent = ?, target_name = ? WHERE kind = 3 AND target_parent = ?", row)

    def parked_uploads(self) -> list[Task]:
        """Files that were open for writing when the daemon ended."""
        return self._all("due_ns IS NULL AND staged = 0 AND kind = 1")

    def _one(self, where: str, *values: object) -> Task | None:
        row = self._db.execute(f"SELECT {_COLUMNS} FROM task WHERE {where}", values).fetchone()
        return None if row is None else Task._make(row)

    def _all(self, where: str, *values: object) -> list[Task]:
        return [Task._make(row) for row in self._db.execute(f"SELECT {_COLUMNS} FROM task WHERE {where}", values)]
