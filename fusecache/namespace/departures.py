"""What a name leaves behind in the store when it goes: objects to be moved or deleted, and hidden until then."""

from __future__ import annotations

from fusecache.errors import DirectoryNotEmpty, NotADirectory
from fusecache.namespace.links import Heirs, others
from fusecache.namespace.moves import is_home, is_moving, lower_prefix
from fusecache.namespace.records import Dentry, Directory, Inode, Place, Task, TaskKind
from fusecache.namespace.tables import Tables
from fusecache.types import Seq


class Departures:
    """Parts of unlink, rmdir and rename, within their transaction."""

    def __init__(self, tables: Tables, *, delay_ns: int) -> None:
        self._t = tables
        self._delay_ns = delay_ns
        self._heirs = Heirs(tables)

    def unname(self, dentry: Dentry, inode: Inode, *, seq: Seq, now_ns: int) -> bool:
        """Take a file's name away: its objects, finished or begun, have to go. True if the name hides any."""
        t = self._t
        due_ns = now_ns + self._delay_ns
        left = others(t, inode, dentry.place)
        for task in t.tasks.all_of_inode(inode.ino):
            if task.key is not None and (not left or task.target == dentry.place):
                t.tasks.want_deleted(
                    task.store, task.key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=dentry.place
                )
            if not left:
                t.tasks.drop(task.task)
                t.spared.add(inode.size if task.kind == TaskKind.UPLOAD else 0)
        stays = bool(left) and self._heirs.hand_over(dentry, left, seq=seq, now_ns=now_ns, due_ns=due_ns)
        if left:
            self._drop_staged(inode, left)
        if dentry.lower is not None:
            store, key, etag = dentry.lower
            wanted_ns = None if stays else due_ns
            t.tasks.want_deleted(store, key, etag=etag, seq=seq, due_ns=wanted_ns, now_ns=now_ns, shield=dentry.place)
            if not stays:
                t.tasks.release(store, key, due_ns)
        return t.tasks.release_shielded(dentry.place, due_ns)

    def unname_directory(self, dentry: Dentry, *, seq: Seq, now_ns: int) -> None:
        """Take a directory away: its marker has to go, what was being deleted below it stays hidden."""
        t = self._t
        ino = dentry.inode_no
        if not t.inodes.get(ino).is_dir:
            raise NotADirectory(repr(dentry.name))
        if t.dentries.has_live(ino):
            raise DirectoryNotEmpty(repr(dentry.name))
        directory = t.directories.get(ino)
        due_ns = now_ns + self._delay_ns
        shields: dict[str, Place] = {}
        if directory.marker:
            shields[lower_prefix(t, ino)] = dentry.place
        for task in t.tasks.all_of_inode(ino):
            if task.kind == TaskKind.RELOCATE:  # it finds its directory gone, removes what it has copied, and ends
                if task.shield is not None and task.source in shields:
                    shields[task.source] = task.shield  # a marker that was left behind shows up there
                self._show_outside(task)
                continue
            if task.key is not None:
                shields.setdefault(task.key, dentry.place)
            t.tasks.drop(task.task)
        for key, shield in shields.items():
            t.tasks.want_deleted(directory.store, key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=shield)
        t.tasks.shield_instead(ino, dentry.place)
        t.dentries.delete_below(ino)
        t.directories.delete(ino)
        t.inodes.delete(ino)

    def leave(self, moved: Dentry, *, seq: Seq, now_ns: int, shield: Place | None = None) -> None:
        """The object of a file that moves stays behind for now: note what has to follow.

        `shield` hides it until then, else the name that it had.
        """
        t, shield = self._t, shield or moved.place
        due_ns = now_ns + self._delay_ns
        store = t.directories.get(moved.parent).store
        tasks = {task.kind: task for task in t.tasks.all_of_inode(moved.inode_no)}
        left = others(t, t.inodes.get(moved.inode_no), moved.place)
        begun = [task for task in tasks.values() if task.key is not None and (not left or task.target == moved.place)]
        for task in begun:
            if task.key is not None and task.key != moved.key:
                t.tasks.want_deleted(store, task.key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=shield)
        if TaskKind.UPLOAD in tasks:
            t.tasks.stands_for(tasks[TaskKind.UPLOAD].task, seq)
        if left or (moved.key is not None and TaskKind.UPLOAD not in tasks):
            t.tasks.want(TaskKind.COPY, moved.inode_no, store, seq=seq, due_ns=due_ns, now_ns=now_ns, source=moved.key)
        if moved.key is None:
            return
        t.tasks.want_deleted(
            store,
            moved.key,
            etag=moved.etag,
            seq=seq,
            due_ns=None,
            now_ns=now_ns,
            shield=shield,
            is_unsure=any(task.key == moved.key for task in begun),  # a request may be replacing it
        )

    def leave_tree(self, moved: Dentry, *, seq: Seq, now_ns: int) -> Place | None:
        """What the store has of a directory that moves stays behind for now, and is read there.

        Returns the name that hid it, if this one does from now on: it was back.
        """
        t = self._t
        directory = t.directories.get(moved.inode_no)
        store, due_ns = directory.store, now_ns + self._delay_ns
        marking = t.tasks.of_inode(directory.ino, TaskKind.MARKER)
        if marking is not None and marking.key is not None:  # the request may be under way
            t.tasks.want_deleted(
                store, marking.key, etag=None, seq=seq, due_ns=due_ns, now_ns=now_ns, shield=moved.place
            )
            t.tasks.want(TaskKind.MARKER, directory.ino, store, seq=seq, due_ns=due_ns, now_ns=now_ns)
        if directory.prefix is None and not directory.used and not directory.marker:
            return None
        self._stay_behind(directory)
        source = lower_prefix(t, directory.ino)
        self._hide_arrivals(moved, but=source, seq=seq, now_ns=now_ns)
        t.tasks.want(
            TaskKind.RELOCATE,
            directory.ino,
            store,
            seq=seq,
            due_ns=due_ns,
            now_ns=now_ns,
            source=source,
            shield=moved.place,
        )
        task = t.tasks.of_inode(directory.ino, TaskKind.RELOCATE)
        if task is None or task.shield == moved.place or not is_home(t, task):
            return None
        t.tasks.shield(task.task, moved.place)
        return task.shield

    def _hide_arrivals(self, moved: Dentry, *, but: str, seq: Seq, now_ns: int) -> None:
        """What is being made at the old path of a directory that was still on its way there comes without its name.

        What comes below `but` is taken along from there.
        """
        t = self._t
        home, store = t.directories.home_prefix(moved.inode_no), t.directories.get(moved.inode_no).store
        if home.startswith(but):
            return
        for row in t.dentries.readers_below(store, home):
            if moved.inode_no in (row.parent, *t.directories.ancestors(row.parent)):
                self.leave(row, seq=seq, now_ns=now_ns, shield=moved.place)  # it was there already
        for task in t.tasks.arriving_below(store, home):
            assert task.key is not None
            if task.kind != TaskKind.RELOCATE:
                t.tasks.want_deleted(
                    task.store,
                    task.key,
                    etag=None,
                    seq=seq,
                    due_ns=now_ns + self._delay_ns,
                    now_ns=now_ns,
                    shield=moved.place,
                )
            elif task.source != task.key:
                t.tasks.record_target(task, task.key, moved.place)

    def _drop_staged(self, inode: Inode, left: list[Dentry]) -> None:
        """A link below a staging name goes: what was parked for it alone would stay for ever."""
        if any(row.key is None or row.generation != inode.generation for row in left):
            return
        for task in self._t.tasks.all_of_inode(inode.ino):
            if task.staged:
                self._t.tasks.drop(task.task)

    def _show_outside(self, task: Task) -> None:
        """What is still to go from where a removed directory was read is hidden by its old name."""
        assert task.source is not None
        for other in self._t.tasks.going_below(task.store, task.source):
            if other.shield is not None and other.shield.parent == task.ino:
                self._t.tasks.shield(other.task, task.shield)
        for other in self._t.tasks.relocations_below(task.store, task.source):
            if other.key is None or other.target is None or other.target.parent != task.ino:
                continue
            if other.key.startswith(task.source):
                self._t.tasks.record_target(other, other.key, task.shield)

    def _stay_behind(self, directory: Directory) -> None:
        """A directory moves out of one that is being copied: it goes on reading what was copied already."""
        t = self._t
        if directory.prefix is None:
            return
        for ino in t.directories.ancestors(directory.ino):
            task = t.tasks.of_inode(ino, TaskKind.RELOCATE)
            if task is None or task.source is None or task.shield is None or task.position is None:
                continue
            if directory.prefix.startswith(task.source):
                t.tasks.drop_parked_below(directory.store, directory.prefix, task.shield)

    def vacate(self, place: Place, seq: Seq, *, hides: bool) -> None:
        """Nothing of ours is under this name any more: hide what the lower, or an older listing of it, shows.

        `hides`: there is still a key that has to go. While the directory moves, what was copied of it is still shown
        where it is read, whatever has had the name since.
        """
        t = self._t
        if t.directories.get(place.parent).prefix is None and not hides:
            t.dentries.delete(place)
        else:
            t.dentries.whiteout(place, seq, settled=not hides and not is_moving(t, place.parent))
