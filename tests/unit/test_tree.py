"""What making, writing and describing leave behind: rows and tasks."""

from __future__ import annotations

import pytest

from fusecache.errors import AlreadyExists, InvalidArgument, Stale
from fusecache.namespace.closes import Closed
from fusecache.namespace.records import TaskKind
from tests.unit.builders import DELAY_NS, FILE, Upper

# --- create, mkdir, write ---


def test_a_new_file_is_parked_until_it_is_closed(upper: Upper) -> None:
    ino = upper.create("a")
    assert upper.todo() == [f"upload {ino} (parked)"]
    upper.close_file(ino)
    task = upper.task(TaskKind.UPLOAD, "a")
    assert task.due_ns == upper.now_ns + DELAY_NS
    assert upper.inode("a").size == 1


def test_a_name_is_made_once(upper: Upper) -> None:
    upper.create("a")
    upper.foreign("f")
    upper.foreign_dir("d")
    for taken in ("a", "f", "d"):
        with pytest.raises(AlreadyExists):
            upper.create(taken)
        with pytest.raises(AlreadyExists):
            upper.mkdir(taken)


@pytest.mark.parametrize("name", ["\u2030", "\u2030.", "\u2030.."])
def test_names_that_only_foreign_keys_may_have(upper: Upper, name: str) -> None:
    upper.write("a")
    with pytest.raises(InvalidArgument):
        upper.create(name)
    with pytest.raises(InvalidArgument):
        upper.mkdir(name)
    with pytest.raises(InvalidArgument):
        upper.rename("a", name)


def test_a_directory_is_touched_by_each_change_of_its_names(upper: Upper) -> None:
    upper.mkdir("d")
    for change in (
        lambda: upper.create("d/a"),
        lambda: upper.rename("d/a", "d/b"),
        lambda: upper.unlink("d/b"),
        lambda: upper.mkdir("d/c"),
        lambda: upper.rmdir("d/c"),
    ):
        change()
        assert upper.inode("d").mtime_ns == upper.now_ns
        assert upper.inode("d").ctime_ns == upper.now_ns


def test_a_symbolic_link_is_complete_at_once(upper: Upper) -> None:
    inode = upper.ns.tree.create(upper.place("l"), FILE, now_ns=upper.tick(), symlink=b"over/there")
    assert (inode.symlink, inode.size) == (b"over/there", 10)
    assert upper.todo() == [f"upload {inode.ino}"]


def test_a_new_directory_may_need_its_marker(upper: Upper) -> None:
    ino = upper.mkdir("d")
    assert upper.ns.tables.directories.get(ino).prefix is None
    assert upper.task(TaskKind.MARKER, "d").due_ns == upper.now_ns + DELAY_NS


def test_a_rewrite_is_put_off_ten_times_and_no_more(upper: Upper) -> None:
    ino = upper.create("a")
    first_ns = upper.now_ns
    for _ in range(30):
        upper.close_file(ino)
        due_ns = upper.task(TaskKind.UPLOAD, "a").due_ns
        assert due_ns is not None
        assert due_ns <= first_ns + 10 * DELAY_NS
        upper.now_ns += DELAY_NS // 2
        upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.close_file(ino)


def test_a_write_begins_a_new_generation_and_parks_the_upload(upper: Upper) -> None:
    ino = upper.persist("a")
    base = upper.inode("a")
    inode = upper.ns.tree.begin_write(ino, blocks=b"\x01", base_size=1, now_ns=upper.tick())
    assert inode.generation == base.generation + 1
    assert inode.base == base.base  # missing blocks still come from there
    assert upper.todo() == [f"upload {ino} (parked)"]
    upper.ns.tree.wrote_blocks(ino, blocks=b"\x03", base_size=1)
    assert upper.inode("a").blocks == b"\x03"
    upper.ns.tree.made_whole(ino)
    assert upper.inode("a").base is None
    upper.close_file(ino)
    assert upper.todo() == [f"upload {ino}"]


def test_a_writers_old_copy_changes_only_what_it_wrote(upper: Upper) -> None:
    ino = upper.create("a")
    held = upper.inode("a")
    upper.ns.tree.set_attributes(held._replace(uid=7), now_ns=upper.tick())
    upper.ns.closes.commit([Closed(held._replace(size=5))], now_ns=upper.tick())
    inode = upper.ns.tables.inodes.get(ino)
    assert (inode.uid, inode.size) == (7, 5)


def test_an_unlinked_open_file_is_written_without_a_task(upper: Upper) -> None:
    ino = upper.write("a")
    upper.unlink("a", keep=True)
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.close_file(ino)
    assert upper.todo() == []
    upper.ns.tree.reap(ino)
    with pytest.raises(Stale):
        upper.ns.tables.inodes.get(ino)


def test_after_a_restart_what_was_open_falls_due(upper: Upper) -> None:
    ino, gone = upper.create("a"), upper.write("gone")
    upper.unlink("gone", keep=True)
    upper.crash()
    assert upper.ns.tables.inodes.orphans() == [gone]
    upper.ns.tree.recover(now_ns=upper.now_ns)
    upper.ns.tree.reap(gone)
    assert upper.todo() == [f"upload {ino}"]


# --- attributes ---


def test_attributes_of_a_clean_file_are_a_copy_onto_itself(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.ns.tree.set_attributes(upper.inode("a")._replace(mode=0o100600), now_ns=upper.tick())
    assert upper.inode("a").mode == 0o100600
    assert upper.todo() == [f"copy {ino} from a"]
    upper.copy("a", "c1")
    assert upper.live("a").etag == "c1"
    assert upper.todo() == []


def test_attributes_of_a_dirty_file_go_with_its_upload(upper: Upper) -> None:
    ino = upper.write("a")
    upper.ns.tree.set_attributes(upper.inode("a")._replace(uid=5), now_ns=upper.tick())
    assert upper.todo() == [f"upload {ino}"]


def test_attributes_that_change_during_the_upload_follow_it(upper: Upper) -> None:
    ino = upper.write("a")
    started, inode = upper.start("a"), upper.inode("a")
    upper.ns.tree.set_attributes(inode._replace(uid=5), now_ns=upper.tick())
    assert upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    assert upper.todo() == [f"copy {ino} from a"]


def test_attributes_of_an_unlinked_file_are_nobodys_business(upper: Upper) -> None:
    upper.persist("a")
    inode = upper.unlink("a", keep=True)
    upper.ns.tree.set_attributes(inode._replace(uid=5), now_ns=upper.tick())
    assert upper.todo() == ["delete a"]
    upper.ns.tree.reap(inode.ino)


def test_attributes_of_a_directory_need_no_marker_of_their_own(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.ns.tree.set_attributes(upper.inode("d")._replace(uid=5), now_ns=upper.tick())
    assert upper.tasks() == []
    upper.ns.lower.marker_seen(upper.ino("d"))
    upper.ns.tree.set_attributes(upper.inode("d")._replace(uid=6), now_ns=upper.tick())
    assert [task.kind for task in upper.tasks()] == [TaskKind.MARKER]
