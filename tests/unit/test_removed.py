"""What waits for the delete of a removed commit marker, by the rows."""

from __future__ import annotations

import pytest

from fusecache.config.model import MARKERS, STAGING
from fusecache.namespace.records import Stuck, Task, TaskKind
from fusecache.persist.removals import Removals
from fusecache.persist.removed import Removed
from fusecache.persist.staging import Patterns
from fusecache.types import ObjectKey, StoreNo
from tests.unit.builders import Upper


class Rig:
    """A namespace with a finished table `t`, known name by name."""

    def __init__(self, upper: Upper) -> None:
        self.upper = upper
        self.is_open: set[str] = set()
        self.restart()
        for directory in ("t", "t/p"):
            upper.foreign_dir(directory)
        for path in ("t/_SUCCESS", "t/a", "t/p/b"):
            upper.foreign(path)

    def restart(self) -> None:
        patterns = Patterns(staging=STAGING, markers=MARKERS)
        self._removed = Removed(self.upper.ns.tables, patterns, is_read=self._is_read)
        self._removals = Removals(self.upper.ns.tables, self._removed.note)

    def _is_read(self, store: StoreNo, key: ObjectKey) -> bool:
        return key in self.is_open

    def look(self) -> bool:
        return self._removals.look(self.upper.now_ns)

    def of_name(self, path: str, kind: TaskKind = TaskKind.UPLOAD) -> str | None:
        """The key of the marker that the task of a name waits for."""
        task, place = self.upper.task(kind, path), self.upper.place(path)
        return self._key_of(task, self.upper.ns.tables.directories.home_key(place))

    def of_delete(self, key: str) -> str | None:
        return self._key_of(self.delete(key), key)

    def _key_of(self, task: Task, key: str) -> str | None:
        assert not self.look()
        place = self.upper.place(key) if task.kind != TaskKind.DELETE else None
        delete = self._removed.blocker(task, key, place)
        return None if delete is None else delete.key

    def delete(self, key: str) -> Task:
        return next(task for task in self.upper.tasks() if task.kind == TaskKind.DELETE and task.key == key)


@pytest.fixture
def rig(upper: Upper) -> Rig:
    return Rig(upper)


def test_a_later_change_waits_until_the_marker_is_gone(upper: Upper, rig: Rig) -> None:
    upper.unlink("t/_SUCCESS")
    upper.write("t/a")
    upper.write("t/p/new")
    upper.unlink("t/p/b")
    assert (rig.of_name("t/a"), rig.of_name("t/p/new"), rig.of_delete("t/p/b")) == ("t/_SUCCESS",) * 3
    upper.carry_out_deletes(but="t/p/b")
    assert (rig.of_name("t/a"), rig.of_name("t/p/new"), rig.of_delete("t/p/b")) == (None,) * 3


def test_an_earlier_one_does_not(upper: Upper, rig: Rig) -> None:
    upper.write("t/a")
    upper.unlink("t/_SUCCESS")
    assert rig.of_name("t/a") is None


def test_but_an_earlier_delete_does(upper: Upper, rig: Rig) -> None:
    """A table is removed in the order of its directory."""
    upper.unlink("t/p/b")
    assert rig.of_delete("t/p/b") is None
    upper.unlink("t/_SUCCESS")
    assert rig.of_delete("t/p/b") == "t/_SUCCESS"
    upper.carry_out_deletes(but="t/p/b")
    assert rig.of_delete("t/p/b") is None


def test_but_for_no_marker_that_is_read_under_another_name(upper: Upper, rig: Rig) -> None:
    """That has to be copied first, which may wait for the earlier delete."""
    upper.unlink("t/p/b")
    upper.rename("t/_SUCCESS", "t/p/_SUCCESS")
    assert rig.of_delete("t/p/b") is None


def test_one_that_was_changed_again_does(upper: Upper, rig: Rig) -> None:
    upper.write("t/a")
    upper.unlink("t/_SUCCESS")
    upper.write("t/a")
    assert rig.of_name("t/a") == "t/_SUCCESS"


def test_a_rename_of_what_is_dirty_is_a_change(upper: Upper, rig: Rig) -> None:
    upper.mkdir("d")
    upper.write("d/x")
    upper.mkdir("e")
    upper.write("e/x")
    upper.write("f")
    upper.unlink("t/_SUCCESS")
    upper.rename("d/x", "t/a")
    upper.rename("e", "t/e")
    assert (rig.of_name("t/a"), rig.of_name("t/e/x"), rig.of_name("f")) == ("t/_SUCCESS", "t/_SUCCESS", None)


def test_the_next_marker_does_not_wait(upper: Upper, rig: Rig) -> None:
    """It has a barrier of its own, which may be held up by what waits here."""
    upper.unlink("t/_SUCCESS")
    upper.write("t/_SUCCESS")
    upper.write("t/_committed_2")
    assert (rig.of_name("t/_SUCCESS"), rig.of_name("t/_committed_2")) == (None, None)


def test_a_marker_of_a_directory_beside_counts_for_the_one_above(upper: Upper, rig: Rig) -> None:
    upper.foreign_dir("t/_delta_log")
    upper.foreign("t/_delta_log/0.json")
    upper.unlink("t/_delta_log/0.json")
    upper.write("t/p/b")
    upper.write("f")
    assert (rig.of_name("t/p/b"), rig.of_name("f")) == ("t/_delta_log/0.json", None)


def test_what_no_delete_of_ours_ends_holds_up_nobody(upper: Upper, rig: Rig) -> None:
    upper.unlink("t/_SUCCESS")
    upper.write("t/a")
    rig.is_open.add("t/_SUCCESS")
    assert rig.of_name("t/a") is None
    rig.is_open.clear()
    assert rig.of_name("t/a") == "t/_SUCCESS"
    upper.ns.drain.failed(rig.delete("t/_SUCCESS"), error="no", stuck=Stuck.REFUSED, due_ns=upper.tick())
    assert rig.of_name("t/a") is None


def test_a_moved_marker_holds_up_others_until_it_is_copied_away(upper: Upper, rig: Rig) -> None:
    upper.rename("t/_SUCCESS", "x")
    upper.write("t/a")
    assert rig.of_name("t/a") == "t/_SUCCESS"
    upper.copy("x")
    assert rig.of_name("t/a") == "t/_SUCCESS"
    upper.carry_out_deletes()
    assert rig.of_name("t/a") is None


def test_but_not_while_somebody_writes_to_it(upper: Upper, rig: Rig) -> None:
    ino = upper.ino("t/_SUCCESS")
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.rename("t/_SUCCESS", "x")
    upper.write("t/a")
    assert rig.of_name("t/a") is None
    upper.close_file(ino)
    assert rig.of_name("t/a") == "t/_SUCCESS"


def test_nor_once_it_is_back(upper: Upper, rig: Rig) -> None:
    upper.rename("t/_SUCCESS", "x")
    upper.rename("x", "t/_SUCCESS")
    upper.write("t/a")
    upper.ns.drain.abandoned(upper.task(TaskKind.COPY, "t/_SUCCESS"), now_ns=upper.tick())
    assert rig.of_name("t/a") is None


def test_what_was_removed_before_a_restart_counts_after_it(upper: Upper, rig: Rig) -> None:
    upper.unlink("t/_SUCCESS")
    upper.write("t/a")
    upper.crash()
    rig.restart()
    assert rig.of_name("t/a") == "t/_SUCCESS"


def test_many_deletes_are_looked_at_in_steps(upper: Upper, rig: Rig) -> None:
    for number in range(1500):
        upper.ns.tables.tasks.want_deleted(
            upper.ns.store, ObjectKey(f"f{number}"), etag=None, seq=upper.epoch, due_ns=0, now_ns=0, shield=None
        )
    upper.unlink("t/_SUCCESS")
    upper.write("t/a")
    assert (rig.look(), rig.look()) == (True, False)
    assert rig.of_name("t/a") == "t/_SUCCESS"
