"""What the tree shows of files whose bytes did not outlive a power loss: their last good version, or nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from fusecache.namespace.departures import Departures
from fusecache.namespace.keys import component_of
from fusecache.namespace.moves import Moves
from fusecache.namespace.policies import Policies
from fusecache.namespace.records import Dentry, Inode, Task, TaskKind
from fusecache.namespace.seals import Held, Seal
from fusecache.namespace.tables import Tables
from fusecache.types import ROOT_INO, InodeNo, ObjectKey


@dataclass(frozen=True, slots=True)
class Doubt:
    """A file with bytes that no store has, and what is known of them."""

    inode: Inode
    seal: Seal


@dataclass(frozen=True, slots=True)
class Aside:
    """A file that was put aside."""

    ino: InodeNo
    path: bytes
    at_ns: int


class Salvage:
    """The namespace's part of recovering from a power loss. Each method that changes is one transaction."""

    def __init__(self, tables: Tables, policies: Policies, *, delay_ns: int) -> None:
        self._t = tables
        self._departures = Departures(tables, delay_ns=delay_ns)
        self._moves = Moves(tables, policies, delay_ns=delay_ns)

    def doubts(self) -> list[Doubt]:
        """Regular files that are dirty: those that the store has are fetched again where they are damaged."""
        found = []
        for ino in list(self._t.seals.dirty()):
            inode = self._t.inodes.get(ino)
            if inode.symlink is None and inode.mode & 0o170000 == 0o100000:
                found.append(Doubt(inode, self._t.seals.get(ino)))
        return found

    def kept(self, files: Iterable[tuple[Inode, Held]], *, proved: Collection[InodeNo]) -> None:
        """These files are what the disk holds of them: of their last sync, or all.

        Only those `proved` are known to have the bytes of their sums, and of the parts that were sent: of the others
        the sums are forgotten, and the uploads given up.
        """
        with self._t.database.transaction():
            self._t.uploads.give_up_all_but(proved)
            for inode, held in files:
                self._keep(inode, held)
                if inode.ino not in proved:
                    self._t.seals.doubted(inode.ino)

    def put_aside(self, doubt: Doubt, *, now_ns: int) -> list[Aside]:
        """Take the file out of the tree, and show what its names had before; its content file is kept."""
        t, ino = self._t, doubt.inode.ino
        with t.database.transaction():
            rows = t.dentries.of_inode(ino)
            path = b"/".join(t.directories.names(rows[0].place)) if rows else b""
            good = self._good_version(doubt, rows)
            for task in t.tasks.all_of_inode(ino):
                if good is None or task.kind == TaskKind.UPLOAD:
                    t.tasks.drop(task.task)
                if good is not None and task.kind == TaskKind.UPLOAD:
                    self._copy_instead(task, rows, now_ns=now_ns)
            if good is None:
                for row in rows:
                    self._reveal(row, now_ns=now_ns)
                t.inodes.delete(ino)
            db = t.database.connection
            db.execute("INSERT OR REPLACE INTO aside VALUES (?, ?, ?)", (ino, path, now_ns))
            db.execute("DELETE FROM doomed WHERE ino = ? AND token = 0", (ino,))
        return [Aside(ino, path, now_ns)]

    def asides(self) -> list[Aside]:
        """What was put aside so far, the latest first."""
        rows = self._t.database.connection.execute("SELECT ino, path, at_ns FROM aside ORDER BY at_ns DESC, ino")
        return [Aside(*row) for row in rows]

    # --- parts of the above, within their transaction ---

    def _keep(self, inode: Inode, held: Held) -> None:
        t = self._t
        columns: dict[str, object] = {"size": held.size, "blocks": held.blocks, "base_size": held.base_size}
        columns["changed"] = None  # later writes may have reached the disk, and what told of them not
        if held.base_size is None:
            columns |= {"base_store": None, "base_key": None, "base_etag": None}
        elif inode.base is None:
            lower = next((row.lower for row in t.dentries.of_inode(inode.ino) if row.lower is not None), None)
            assert lower is not None, f"inode {inode.ino}: its base is forgotten"
            columns |= {"base_store": lower.store, "base_key": lower.key, "base_etag": lower.etag}
        if any(getattr(inode, name) != value for name, value in columns.items()):
            t.inodes.update(inode, **columns)
        t.seals.synced(inode.ino, held._replace(generation=inode.generation))

    def _good_version(self, doubt: Doubt, rows: list[Dentry]) -> Inode | None:
        """Make the inode clean again if only its name leads to the older version; None: the store shows it, or none."""
        seal, inode, t = doubt.seal, doubt.inode, self._t
        if seal.good_size is None or not rows or any(row.lower is None or self._is_shown(row) for row in rows):
            return None
        lower = rows[0].lower
        if lower is None or lower.etag != seal.good_etag or rows[0].generation is None:
            return None
        base = {"base_store": lower.store, "base_key": lower.key, "base_etag": lower.etag}
        size = seal.good_size
        return t.inodes.update(
            inode, **base, base_size=size, size=size, blocks=None, headed=0, generation=rows[0].generation
        )

    def _copy_instead(self, upload: Task, rows: list[Dentry], *, now_ns: int) -> None:
        """The upload would have gone to where the names are by now; the object of the older version has to."""
        t = self._t
        for row in rows:
            self._moves.follow(row, now_ns=now_ns, since_seq=upload.since_seq)
        copy = t.tasks.of_inode(rows[0].inode_no, TaskKind.COPY)
        if copy is not None and copy.key is None and upload.key is not None:  # its request may have been carried out
            t.tasks.record_target(copy, ObjectKey(upload.key), upload.target)

    def _is_shown(self, row: Dentry) -> bool:
        """Whether a listing of the directory shows the object of this name under this name."""
        prefix = self._t.directories.get(row.parent).prefix
        return prefix is not None and row.key == prefix + component_of(row.name)

    def _reveal(self, row: Dentry, *, now_ns: int) -> None:
        """Take a name away, and keep what it was about to overwrite."""
        t, place = self._t, row.place
        store, home = t.directories.get(row.parent).store, t.directories.home_key(place)
        for task in t.tasks.shielded_by(place):
            waits = task.kind == TaskKind.DELETE and task.due_ns is None and task.key == home
            if waits and not t.dentries.readers(store, home):
                t.tasks.drop(task.task)
        hides = t.tasks.release_shielded(place, now_ns)
        self._departures.vacate(place, t.database.next_seq(), hides=hides)
        if row.parent != ROOT_INO:
            self._moves.want_marker(row.parent, now_ns=now_ns)
