"""What the persister records: nothing that changed meanwhile is forgotten, nothing that is read is deleted."""

from __future__ import annotations

import pytest

from fusecache.namespace.drain import conflicting
from fusecache.namespace.records import Stuck, TaskKind
from fusecache.types import ObjectKey
from tests.unit.builders import Upper

# --- uploads ---


def test_an_upload_makes_its_file_clean(upper: Upper) -> None:
    upper.write("a")
    lower = upper.upload("a", "e1")
    assert upper.live("a").lower == lower
    assert upper.inode("a").base == lower
    assert upper.inode("a").base_size == upper.inode("a").size
    assert upper.tasks() == []


def test_a_write_during_the_upload_keeps_the_task(upper: Upper) -> None:
    ino = upper.write("a")
    started, inode = upper.start("a"), upper.inode("a")
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    assert not upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    assert upper.todo() == [f"upload {ino} (parked)"]
    assert upper.live("a").etag == "e1"  # the store has it, and a delete has to name it
    assert upper.live("a").generation == inode.generation
    assert upper.inode("a").base is None
    upper.close_file(ino)
    task = upper.task(TaskKind.UPLOAD, "a")
    assert task.key is None
    assert task.since_seq > started.seq  # a flush that was called before does not wait for it
    upper.upload("a", "e2")
    assert upper.tasks() == []


def test_what_is_missing_of_a_file_that_changed_meanwhile_comes_from_the_new_object(upper: Upper) -> None:
    ino = upper.write("a")
    old = upper.upload("a", "e1")
    upper.ns.tree.begin_write(ino, blocks=b"\x01", base_size=9, now_ns=upper.tick())
    upper.close_file(ino)
    started, inode = upper.start("a"), upper.inode("a")
    upper.ns.tree.begin_write(ino, blocks=b"\x03", changed=b"\x02", base_size=9, now_ns=upper.tick())
    assert upper.inode("a").base == old
    new = upper.lower_id("a", "e2")
    assert not upper.ns.drain.uploaded(started, new, inode, now_ns=upper.tick())
    now = upper.inode("a")
    assert (now.base, now.blocks, now.changed, now.base_size) == (new, b"\x03", b"\x02", 9)


def test_the_delay_of_what_came_later_counts_from_then(upper: Upper) -> None:
    ino = upper.write("a")
    started, inode = upper.start("a"), upper.inode("a")
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.now_ns += 1_000_000_000
    upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    upper.close_file(ino)
    due_ns = upper.task(TaskKind.UPLOAD, "a").due_ns
    assert due_ns is not None
    assert due_ns > upper.now_ns


def test_a_close_during_the_upload_is_uploaded_again(upper: Upper) -> None:
    ino = upper.write("a")
    started, inode = upper.start("a"), upper.inode("a")
    upper.write("a")
    assert not upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    assert upper.todo() == [f"upload {ino}"]


def test_after_a_crash_what_was_in_flight_is_due_under_its_key(upper: Upper) -> None:
    upper.write("a")
    upper.start("a")
    upper.crash()
    task = upper.task(TaskKind.UPLOAD, "a")
    assert (task.key, task.target) == ("a", upper.place("a"))
    assert [each.task for each in upper.ns.tables.tasks.due(now_ns=1 << 62, synced_seq=upper.epoch)] == [task.task]


def test_what_is_not_synced_is_not_due(upper: Upper) -> None:
    upper.write("a")
    tasks, database = upper.ns.tables.tasks, upper.ns.database
    assert list(tasks.due(now_ns=1 << 62, synced_seq=database.synced_seq)) == []
    database.sync()
    assert [task.ino for task in tasks.due(now_ns=1 << 62, synced_seq=database.synced_seq)] == [upper.ino("a")]
    assert list(tasks.due(now_ns=upper.now_ns, synced_seq=database.synced_seq)) == []  # the delay


def test_an_upload_that_finds_its_file_elsewhere_is_copied_on(upper: Upper) -> None:
    upper.mkdir("d")
    ino = upper.write("d/a")
    started, inode = upper.start("d/a"), upper.inode("d/a")
    upper.rename("d/a", "b")
    upper.ns.drain.uploaded(started, upper.lower_id("d/a", "e1"), inode, now_ns=upper.tick())
    assert upper.inode("b").base_key == "d/a"
    assert f"copy {ino} from d/a" in upper.todo()
    upper.copy("b")
    assert upper.carry_out_deletes() == {"d/a"}
    assert upper.todo() == []


def test_an_upload_into_a_directory_that_moved_is_relocated_with_it(upper: Upper) -> None:
    ino = upper.mkdir("d")
    upper.write("d/a")
    started, inode = upper.start("d/a"), upper.inode("d/a")
    upper.rename("d", "e")
    upper.ns.drain.uploaded(started, upper.lower_id("d/a", "e1"), inode, now_ns=upper.tick())
    assert upper.todo() == [f"relocate {ino} from d/"]
    upper.relocate("e", ["a"])
    assert upper.live("e/a").key == "e/a"
    assert upper.carry_out_deletes() == {"d/a"}
    assert (upper.todo(), upper.state("d")) == ([], "settled")


def test_an_upload_cancels_the_delete_of_what_it_replaces(upper: Upper) -> None:
    upper.persist("a", "e1")
    upper.unlink("a")
    upper.write("a")
    upper.upload("a", "e2")
    assert upper.todo() == []


def test_an_upload_opens_the_directories_above(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mkdir("d/e")
    upper.write("d/e/a")
    directories = upper.ns.tables.directories
    assert directories.get(upper.ino("d/e")).prefix is None
    upper.start("d/e/a")
    assert [directories.get(upper.ino(path)).prefix for path in ("d", "d/e")] == ["d/", "d/e/"]


def test_a_directory_stays_opaque_while_what_was_there_is_deleted(upper: Upper) -> None:
    """Its old marker and the old objects below must not show up in the new one."""
    upper.foreign_dir("d")
    upper.foreign("d/old")
    upper.unlink("d/old")
    upper.rmdir("d")
    upper.mkdir("d")
    upper.persist("d/new")
    assert upper.ns.tables.directories.get(upper.ino("d")).prefix is None
    assert upper.carry_out_deletes() == {"d/old"}
    assert upper.ns.tables.directories.get(upper.ino("d")).prefix == "d/"


# --- copies ---


def test_a_write_during_the_copy_is_uploaded_after_it(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.rename("a", "b")
    started = upper.start("b", TaskKind.COPY)
    upper.write("b")
    upper.copied(started, upper.lower_id("b", "c1"))
    assert upper.todo() == ["delete a", f"upload {ino}"]
    upper.upload("b", "e2")
    assert upper.carry_out_deletes() == {"a"}
    assert upper.todo() == []


def test_attributes_during_the_copy_are_copied_again_from_where_it_is_then(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.rename("a", "b")
    started = upper.start("b", TaskKind.COPY)
    upper.ns.tree.set_attributes(upper.inode("b")._replace(uid=9), now_ns=upper.tick())
    upper.copied(started, upper.lower_id("b", "c1"))
    assert upper.todo() == [f"copy {ino} from b", "delete a"]


def test_a_copy_whose_source_is_gone_becomes_an_upload(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.rename("a", "b")
    upper.start("b", TaskKind.COPY)
    upper.ns.drain.upload_instead(upper.task(TaskKind.COPY, "b"), now_ns=upper.tick())
    assert upper.todo() == ["delete a (parked)", f"upload {ino}"]
    assert upper.task(TaskKind.UPLOAD, "b").key == "b"  # the copy may have made it
    assert upper.inode("b").base is None
    upper.upload("b", "e2")
    assert upper.todo() == ["delete a"]


def test_an_upload_replaces_a_pending_copy(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.rename("a", "b")
    upper.write("b")
    assert upper.todo() == [f"copy {ino} from a", "delete a (parked)", f"upload {ino}"]
    since = upper.task(TaskKind.COPY, "b").since_seq
    upper.start("b")
    assert upper.todo() == ["delete a (parked)", f"upload {ino}"]
    assert upper.task(TaskKind.UPLOAD, "b").since_seq == since


# --- markers and deletes ---


@pytest.mark.parametrize("is_uploaded", [False, True])
def test_what_a_copy_may_have_made_is_not_deleted_twice(upper: Upper, is_uploaded: bool) -> None:
    ino = upper.persist("a")
    upper.ns.tree.link(ino, upper.place("b"), now_ns=upper.tick())
    upper.ns.drain.start(upper.task(TaskKind.COPY, "a"), upper.place("b"), ObjectKey("b"), now_ns=upper.tick())
    upper.rename("b", "c")
    assert upper.carry_out_deletes() == {"b"}
    assert upper.state("b") == "settled"
    upper.write("c")
    if is_uploaded:
        upper.unlink("a")
        upper.start("c")
    else:
        upper.ns.drain.abandoned(upper.task(TaskKind.COPY, "c"), now_ns=upper.tick())
    assert "delete b" not in upper.todo()
    assert upper.state("b") == "settled"  # and shields nothing


def test_a_marker_goes_when_there_is_a_child(upper: Upper) -> None:
    ino = upper.mkdir("d")
    upper.mark("d")
    assert upper.ns.tables.directories.get(ino).marker == 1
    upper.persist("d/a")
    assert upper.ns.tables.directories.get(ino).marker == 0
    assert upper.todo() == ["delete d/"]


@pytest.mark.parametrize("away", ["removed", "renamed"])
def test_a_marker_that_is_still_to_go_does_not_bring_its_directory_back(upper: Upper, away: str) -> None:
    upper.mkdir("d")
    upper.mark("d")
    upper.persist("d/a")
    upper.unlink("d/a")
    if away == "removed":
        upper.rmdir("d")
    else:
        upper.rename("d", "e")
        upper.relocate("e")
    upper.carry_out_deletes(but="d/")
    assert upper.state("d") == "hidden"
    assert upper.carry_out_deletes() == {"d/"}
    assert upper.state("d") == "settled"


def test_a_new_marker_is_not_hit_by_the_delete_of_an_old_one(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mark("d")
    upper.rmdir("d")
    ino = upper.mkdir("d")
    upper.mark("d")
    assert upper.todo() == []
    assert upper.ns.tables.directories.get(ino).marker == 1


def test_a_whiteout_ends_with_the_last_of_its_deletes(upper: Upper) -> None:
    upper.mkdir("d")
    for name in "abc":
        upper.persist(f"d/{name}")
        upper.unlink(f"d/{name}")
    upper.rmdir("d")
    assert upper.carry_out_deletes(but="d/b") == {"d/a", "d/c"}
    assert upper.state("d") == "hidden"
    assert upper.carry_out_deletes() == {"d/b"}
    assert upper.state("d") == "settled"


def test_keys_above_and_below_a_pending_delete_conflict(upper: Upper) -> None:
    upper.persist("a")
    upper.unlink("a")
    upper.foreign_dir("d")
    upper.foreign("d/b")
    upper.unlink("d/b")
    for key, conflicts in [("a/b", True), ("a/b/c", True), ("ab", False), ("d", True), ("d/", False), ("d/c", False)]:
        assert conflicting(upper.ns.tables, upper.ns.store, key) == conflicts, key


# --- failures and waiting ---


def test_what_the_store_refused_is_tried_again(upper: Upper) -> None:
    upper.write("a")
    task = upper.task(TaskKind.UPLOAD, "a")
    upper.ns.drain.failed(task, error="no", stuck=Stuck.REFUSED, due_ns=77)
    after = upper.task(TaskKind.UPLOAD, "a")
    assert (after.attempts, after.error, after.stuck, after.due_ns) == (1, "no", 1, 77)
    assert upper.ns.tables.tasks.stuck() == [after]
    upper.write("a")
    again = upper.task(TaskKind.UPLOAD, "a")
    assert (again.attempts, again.error, again.stuck) == (0, None, 0)


def test_a_failure_does_not_wake_what_was_parked_meanwhile(upper: Upper) -> None:
    ino = upper.write("a")
    task = upper.start("a").task
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.ns.drain.failed(task, error="no", stuck=Stuck.NO, due_ns=77)
    assert upper.todo() == [f"upload {ino} (parked)"]


def test_waiting_and_hurrying(upper: Upper) -> None:
    upper.write("a")
    task = upper.task(TaskKind.UPLOAD, "a")
    upper.ns.drain.put_off(task, due_ns=1 << 40)
    assert upper.ns.tables.tasks.next_due_ns(after_ns=50) == 1 << 40
    upper.write("b")
    upper.ns.drain.hurried([task])
    assert upper.ns.tables.tasks.next_due_ns(after_ns=1 << 50) is None
    due = upper.ns.tables.tasks.due(now_ns=1 << 50, synced_seq=upper.ns.database.seq)
    assert next(iter(due)).task == task.task
    upper.ns.drain.failed(task, error="no", stuck=Stuck.NO, due_ns=77)
    upper.ns.drain.hurried([task])
    assert upper.task(TaskKind.UPLOAD, "a").due_ns == 77  # it was refused meanwhile
    upper.ns.drain.postponed([(task, None)])
    assert upper.todo()[0] == f"upload {task.ino} (parked)"


def test_the_task_of_a_file_that_is_gone_is_abandoned(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.rename("d", "e")
    task = upper.task(TaskKind.RELOCATE, "e")
    upper.rmdir("e")
    upper.ns.drain.abandoned(task, now_ns=upper.tick())
    assert upper.todo() == []
    assert upper.state("d") == "settled"
