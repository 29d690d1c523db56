"""What each change of the tree leaves behind: rows, whiteouts and tasks, in every state a name can be in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusecache.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileSystemError,
    InvalidArgument,
    IsADirectory,
    NotADirectory,
    NotFound,
    Stale,
)
from fusecache.namespace.lower import Evidence, LowerPrefix
from fusecache.namespace.records import TaskKind
from fusecache.types import ROOT_INO
from tests.unit.builders import (
    DELAY_NS,
    FILE,
    Upper,
    an_object,
    check,
    count_statements,
    rows_of,
)


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Upper]:
    upper = Upper(tmp_path / "namespace.db")
    yield upper
    check(upper.ns)
    upper.crash()
    check(upper.ns)
    upper.close()


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
    upper.ns.tree.closed(held._replace(size=5), now_ns=upper.tick())
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


# --- unlink ---


def test_unlink_of_what_was_never_persisted_leaves_nothing(upper: Upper) -> None:
    upper.write("a")
    upper.unlink("a")
    assert upper.todo() == []
    assert upper.state("a") == "settled"  # an older listing may not bring it back; a newer one may


def test_unlink_in_an_opaque_directory_leaves_no_row(upper: Upper) -> None:
    upper.mkdir("d")
    upper.write("d/a")
    upper.unlink("d/a")
    assert upper.todo() == []
    assert upper.state("d/a") == "absent"


def test_unlink_of_an_attempted_upload_deletes_what_it_may_have_made(upper: Upper) -> None:
    upper.write("a")
    started = upper.start("a")
    inode = upper.inode("a")
    upper.unlink("a")
    assert upper.todo() == ["delete a"]
    assert upper.state("a") == "hidden"
    assert not upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    assert upper.todo() == ["delete a"]
    assert upper.carry_out_deletes() == {"a"}
    assert upper.state("a") == "settled"


def test_unlink_of_a_clean_file_deletes_its_object(upper: Upper) -> None:
    upper.persist("a", "e9")
    upper.unlink("a")
    assert upper.todo() == ["delete a"]
    assert [task.etag for task in upper.tasks() if task.kind == TaskKind.DELETE] == ["e9"]
    assert upper.state("a") == "hidden"
    upper.carry_out_deletes()
    assert upper.todo() == []
    assert upper.state("a") == "settled"


def test_unlink_of_a_foreign_file_deletes_its_object(upper: Upper) -> None:
    upper.foreign("a")
    upper.unlink("a")
    assert upper.todo() == ["delete a"]


def test_unlink_of_a_dirty_file_deletes_the_older_object(upper: Upper) -> None:
    upper.persist("a")
    upper.write("a")
    upper.unlink("a")
    assert upper.todo() == ["delete a"]


def test_unlink_of_a_file_whose_copy_is_pending_deletes_where_it_was(upper: Upper) -> None:
    upper.persist("a")
    upper.rename("a", "b")
    upper.unlink("b")
    assert set(upper.todo()) == {"delete a"}
    assert (upper.state("a"), upper.state("b")) == ("hidden", "hidden")
    upper.carry_out_deletes()
    assert (upper.state("a"), upper.state("b")) == ("settled", "settled")


def test_unlink_while_the_copy_is_under_way_deletes_both_ends(upper: Upper) -> None:
    upper.persist("a")
    upper.rename("a", "b")
    started = upper.start("b", TaskKind.COPY)
    upper.unlink("b")
    assert set(upper.todo()) == {"delete a", "delete b"}
    upper.ns.drain.copied(started, upper.lower_id("b", "c1"), now_ns=upper.tick())
    assert upper.carry_out_deletes() == {"a", "b"}
    assert (upper.state("a"), upper.state("b")) == ("settled", "settled")


def test_unlink_in_a_renamed_directory_deletes_in_the_old_prefix(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign("d/a")
    ino = upper.ino("d")
    upper.rename("d", "e")
    upper.unlink("e/a")
    assert upper.todo() == ["delete d/a", f"relocate {ino} from d/"]
    assert upper.state("e/a") == "hidden"


def test_unlink_over_a_whiteout_keeps_it_for_what_it_hid(upper: Upper) -> None:
    upper.persist("a")
    upper.unlink("a")
    upper.create("a")
    assert upper.todo()[0] == "delete a"
    upper.unlink("a")
    assert upper.todo() == ["delete a"]
    assert upper.state("a") == "hidden"


def test_unlink_keeps_what_is_open(upper: Upper) -> None:
    ino = upper.persist("a")
    inode = upper.unlink("a", keep=True)
    assert (inode.ino, inode.nlink) == (ino, 0)
    assert upper.ns.tables.inodes.get(ino).base is not None  # it still reads from its object
    upper.ns.tree.reap(ino)


def test_unlink_is_not_for_directories_and_rmdir_not_for_files(upper: Upper) -> None:
    upper.mkdir("d")
    upper.create("a")
    upper.create("d/a")
    before = rows_of(upper)
    with pytest.raises(IsADirectory):
        upper.unlink("d")
    with pytest.raises(NotADirectory):
        upper.rmdir("a")
    with pytest.raises(DirectoryNotEmpty):
        upper.rmdir("d")
    for missing in ("x", "d/x"):
        with pytest.raises(NotFound):
            upper.unlink(missing)
        with pytest.raises(NotFound):
            upper.rmdir(missing)
        with pytest.raises(NotFound):
            upper.rename(missing, "y")
    assert rows_of(upper) == before


# --- rmdir ---


def test_rmdir_of_a_directory_that_the_store_never_had(upper: Upper) -> None:
    upper.mkdir("d")
    upper.rmdir("d")
    assert upper.todo() == []
    assert upper.state("d") == "settled"
    assert not [task for task in upper.tasks() if task.kind == TaskKind.MARKER]


def test_rmdir_deletes_the_marker_and_nothing_else(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mark("d")
    upper.rmdir("d")
    assert upper.todo() == ["delete d/"]
    assert upper.state("d") == "hidden"
    upper.carry_out_deletes()
    assert upper.state("d") == "settled"


def test_rmdir_while_the_marker_is_written_deletes_it(upper: Upper) -> None:
    upper.mkdir("d")
    started = upper.start("d", TaskKind.MARKER)
    upper.rmdir("d")
    upper.ns.drain.marker_written(started, now_ns=upper.tick())
    assert upper.carry_out_deletes() == {"d/"}
    assert upper.state("d") == "settled"


def test_rmdir_hides_what_is_still_being_deleted_below(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mkdir("d/e")
    upper.persist("d/e/a")
    upper.unlink("d/e/a")
    upper.rmdir("d/e")
    upper.rmdir("d")
    assert upper.todo() == ["delete d/e/a"]
    assert upper.state("d") == "hidden"
    upper.carry_out_deletes()
    assert upper.state("d") == "settled"


def test_rmdir_of_a_renamed_directory_waits_for_its_relocation(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.rename("d", "e")
    upper.rmdir("e")
    assert upper.todo() == [f"relocate {ino} from d/"]
    assert upper.state("d") == "hidden"
    relocation = upper.tasks()[-1]
    upper.ns.drain.abandoned(relocation, now_ns=upper.tick())
    assert upper.state("d") == "settled"


def test_rmdir_of_a_renamed_directory_hides_the_marker_where_it_is(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.ns.lower.marker_seen(ino)
    upper.rename("d", "e")
    upper.rmdir("e")
    assert upper.todo() == ["delete d/", f"relocate {ino} from d/"]
    [relocation] = [task for task in upper.tasks() if task.kind == TaskKind.RELOCATE]
    upper.ns.drain.abandoned(relocation, now_ns=upper.tick())
    assert upper.state("d") == "hidden"
    upper.carry_out_deletes()
    assert upper.state("d") == "settled"


# --- rename ---


def test_rename_of_what_was_never_persisted_is_only_local(upper: Upper) -> None:
    ino = upper.write("a")
    upper.rename("a", "b")
    assert upper.todo() == [f"upload {ino}"]
    assert upper.ino("b") == ino
    assert upper.state("a") == "settled"


def test_rename_while_the_upload_is_under_way_moves_the_object_after_it(upper: Upper) -> None:
    ino = upper.write("a")
    started, inode = upper.start("a"), upper.inode("a")
    upper.rename("a", "b")
    assert "delete a" in upper.todo()
    upper.ns.drain.uploaded(started, upper.lower_id("a", "e1"), inode, now_ns=upper.tick())
    assert f"copy {ino} from a" in upper.todo()
    assert upper.carry_out_deletes() == set()  # it is read there
    assert upper.state("a") == "hidden"
    upper.copy("b")
    assert upper.carry_out_deletes() == {"a"}
    assert (upper.state("a"), upper.live("b").key) == ("settled", "b")
    assert upper.todo() == []


def test_rename_of_a_clean_file_copies_and_then_deletes(upper: Upper) -> None:
    ino = upper.persist("a", "e1")
    upper.rename("a", "b")
    assert upper.todo() == [f"copy {ino} from a", "delete a (parked)"]
    assert upper.state("a") == "hidden"
    assert upper.inode("b").base_key == "a"
    upper.copy("b", "c1")
    assert upper.todo() == ["delete a"]
    assert (upper.inode("b").base_key, upper.inode("b").base_etag) == ("b", "c1")
    assert upper.carry_out_deletes() == {"a"}
    assert upper.state("a") == "settled"


def test_rename_of_a_dirty_file_uploads_to_the_new_key_and_deletes_the_old(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.write("a")
    upper.rename("a", "b")
    assert upper.todo() == ["delete a (parked)", f"upload {ino}"]
    upper.upload("b", "e2")
    assert upper.todo() == ["delete a"]


def test_a_chain_of_renames_collapses(upper: Upper) -> None:
    ino = upper.persist("a")
    for old, new in ("ab", "bc", "cd"):
        upper.rename(old, new)
    assert f"copy {ino} from a" in upper.todo()
    upper.copy("d")
    assert upper.carry_out_deletes() == {"a"}
    assert upper.todo() == []
    assert [upper.state(name) for name in "abc"] == ["settled"] * 3


def test_a_rename_while_the_copy_is_under_way_copies_on_from_there(upper: Upper) -> None:
    ino = upper.persist("a")
    upper.rename("a", "b")
    started = upper.start("b", TaskKind.COPY)
    upper.rename("b", "c")
    upper.ns.drain.copied(started, upper.lower_id("b", "c1"), now_ns=upper.tick())
    assert f"copy {ino} from b" in upper.todo()
    assert upper.inode("c").base_key == "b"
    assert upper.carry_out_deletes() == {"a"}
    upper.copy("c", "c2")
    assert upper.carry_out_deletes() == {"b"}
    assert upper.todo() == []
    assert [upper.state(name) for name in "ab"] == ["settled"] * 2


def test_a_rename_back_needs_nothing_from_the_store_but_time(upper: Upper) -> None:
    upper.persist("a")
    upper.rename("a", "b")
    upper.rename("b", "a")
    upper.copy("a", "c1")
    assert upper.live("a").lower == upper.lower_id("a", "c1")
    assert "a" not in upper.carry_out_deletes()
    assert upper.todo() == []


def test_rename_onto_itself_changes_nothing(upper: Upper) -> None:
    upper.persist("a")
    before = rows_of(upper)
    assert upper.rename("a", "a") is None
    assert rows_of(upper) == before


def test_rename_over_a_clean_file_overwrites_its_object(upper: Upper) -> None:
    moved, replaced = upper.write("a"), upper.persist("b")
    inode = upper.rename("a", "b")
    assert inode is not None
    assert inode.ino == replaced
    assert upper.ino("b") == moved
    assert upper.todo() == ["delete b", f"upload {moved}"]
    upper.upload("b")
    assert upper.todo() == []  # deleting it now would take the new one


def test_rename_over_an_open_file_keeps_its_inode(upper: Upper) -> None:
    upper.write("a")
    replaced = upper.persist("b")
    upper.rename("a", "b", keep=True)
    assert upper.ns.tables.inodes.get(replaced).nlink == 0
    upper.ns.tree.reap(replaced)


def test_rename_out_of_and_into_an_opaque_directory(upper: Upper) -> None:
    upper.mkdir("d")
    ino = upper.write("d/a")
    upper.rename("d/a", "a")
    assert upper.state("d/a") == "absent"
    upper.rename("a", "d/b")
    assert upper.state("a") == "settled"
    assert upper.todo() == [f"upload {ino}"]


def test_rename_over_a_whiteout_is_deleted_with_it(upper: Upper) -> None:
    upper.persist("b")
    upper.unlink("b")
    upper.persist("a")
    upper.rename("a", "b")
    upper.unlink("b")
    assert upper.state("b") == "hidden"
    assert upper.carry_out_deletes() == {"a", "b"}
    assert (upper.state("a"), upper.state("b")) == ("settled", "settled")


def test_rename_of_a_local_directory_is_only_local(upper: Upper) -> None:
    upper.mkdir("d")
    ino = upper.write("d/a")
    upper.rename("d", "e")
    assert upper.todo() == [f"upload {ino}"]
    assert upper.start("e/a").key == "e/a"


def test_rename_of_a_directory_reads_on_from_the_old_prefix(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.rename("d", "e")
    assert upper.ns.tables.directories.get(ino).prefix == "d/"
    assert upper.todo() == [f"relocate {ino} from d/"]
    assert upper.state("d") == "hidden"
    upper.rename("e", "f")
    assert upper.todo() == [f"relocate {ino} from d/"]
    assert (upper.state("d"), upper.state("e")) == ("hidden", "settled")


def test_rename_of_an_empty_directory_takes_its_marker_along(upper: Upper) -> None:
    ino = upper.mkdir("d")
    upper.mark("d")
    upper.rename("d", "e")
    assert upper.todo() == [f"relocate {ino} from d/"]
    assert upper.state("d") == "hidden"


def test_rename_while_the_marker_is_written(upper: Upper) -> None:
    upper.mkdir("d")
    started = upper.start("d", TaskKind.MARKER)
    upper.rename("d", "e")
    upper.ns.drain.marker_written(started, now_ns=upper.tick())
    assert upper.task(TaskKind.MARKER, "e").key is None
    assert upper.state("d") == "hidden"
    assert upper.carry_out_deletes() == {"d/"}
    upper.relocate("e")
    assert upper.state("d") == "settled"


def test_rename_over_an_empty_directory(upper: Upper) -> None:
    moved, replaced = upper.mkdir("d"), upper.mkdir("e")
    upper.mark("e")
    inode = upper.rename("d", "e")
    assert inode is not None
    assert inode.ino == replaced
    assert upper.ino("e") == moved
    assert upper.todo() == ["delete e/"]


def test_renames_that_posix_refuses(upper: Upper) -> None:
    upper.mkdir("d")
    upper.mkdir("d/e")
    upper.mkdir("empty")
    upper.create("a")
    before = rows_of(upper)
    for old, new, refusal in [
        ("d", "d/e/f", InvalidArgument),
        ("d", "d/f", InvalidArgument),
        ("a", "empty", IsADirectory),
        ("empty", "a", NotADirectory),
        ("empty", "d", DirectoryNotEmpty),
    ]:
        with pytest.raises(refusal):
            upper.rename(old, new)
    assert rows_of(upper) == before


@pytest.mark.slow
def test_rename_of_a_directory_is_one_transaction_whatever_the_size(upper: Upper) -> None:
    """Loaded rows, clean and dirty, change nothing: statements are counted, not time."""
    counts = []
    for name, children in (("few", 10), ("many", 10_000)):
        parent = upper.foreign_dir(name)
        found = [(b"%d" % n, an_object(f"{name}/{n}")) for n in range(children)]
        upper.ns.lower.merge(parent, found, epoch=upper.epoch)
        upper.write(f"{name}/dirty")
        counts.append(count_statements(upper, partial(upper.rename, name, f"{name}-moved")))
    assert counts[0] == counts[1]
    assert counts[0]["commits"] == 1
    assert counts[0]["statements"] < 30


# --- staging ---


def test_a_file_that_leaves_staging_is_due_since_then(upper: Upper) -> None:
    upper.mkdir("_temporary")
    ino = upper.write("_temporary/a")
    upper.ns.drain.staged([upper.task(TaskKind.UPLOAD, "_temporary/a")])
    assert upper.todo() == [f"upload {ino} (staged)"]
    before = upper.epoch
    upper.rename("_temporary/a", "a")
    task = upper.task(TaskKind.UPLOAD, "a")
    assert task.due_ns is not None
    assert task.since_seq > before


def test_a_file_that_leaves_staging_while_it_is_written_waits_for_its_close(upper: Upper) -> None:
    upper.mkdir("_temporary")
    ino = upper.write("_temporary/a")
    upper.ns.drain.staged([upper.task(TaskKind.UPLOAD, "_temporary/a")])
    upper.ns.tree.begin_write(ino, blocks=None, base_size=None, now_ns=upper.tick())
    upper.rename("_temporary/a", "a")
    assert upper.todo() == [f"upload {ino} (parked)"]
    upper.close_file(ino)
    assert upper.todo() == [f"upload {ino}"]


def test_a_directory_that_leaves_staging_is_adopted(upper: Upper) -> None:
    upper.mkdir("_temporary")
    tree = upper.mkdir("_temporary/t")
    upper.mkdir("_temporary/t/u")
    inos = [upper.write("_temporary/t/a"), upper.write("_temporary/t/u/b")]
    upper.ns.drain.staged([task for task in upper.tasks() if task.kind == TaskKind.UPLOAD])
    upper.rename("_temporary/t", "t")
    adopt = upper.task(TaskKind.ADOPT, "t")
    assert (adopt.ino, adopt.staged) == (tree, 0)
    upper.ns.drain.adopted(adopt, now_ns=upper.tick())
    assert upper.todo() == [f"upload {ino}" for ino in inos]
    assert upper.task(TaskKind.UPLOAD, "t/a").since_seq == adopt.seq


def test_a_staging_directory_itself_is_adopted_under_its_new_name(upper: Upper) -> None:
    upper.mkdir("_temporary")
    upper.write("_temporary/a")
    upper.rename("_temporary", "t")
    assert upper.task(TaskKind.ADOPT, "t") is not None


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


# --- anything, in any order ---

_PATHS = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a"]
_VERBS = ("create", "write", "mkdir", "unlink", "rmdir", "rename")
_PERSISTER = ("upload", "copy", "mark", "deletes", "start", "crash", "foreign", "foreign_dir", "vanish")
_steps = st.lists(
    st.tuples(st.sampled_from(_VERBS + _PERSISTER), st.sampled_from(_PATHS), st.sampled_from(_PATHS)), max_size=25
)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(_steps)
def test_whatever_happens_the_tree_is_what_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    upper = Upper(tmp_path_factory.mktemp("upper") / "namespace.db")
    model: dict[str, int] = {}
    for verb, path, other in steps:
        try:
            _take(upper, model, verb, path, other)
        except (FileSystemError, _NotApplicable):
            pass
        check(upper.ns)
        assert _names(upper) == model
    upper.close()


class _NotApplicable(Exception):
    """The step makes no sense in this state."""


def _take(upper: Upper, model: dict[str, int], verb: str, path: str, other: str) -> None:
    """Carry out one step, and note in `model` what is acknowledged."""
    for each in (path, other):
        if "/" in each and each.rpartition("/")[0] not in model:
            raise _NotApplicable
        if "/" in each and not upper.inode(each.rpartition("/")[0]).is_dir:
            raise _NotApplicable
    if verb in _VERBS:
        if verb == "write" and path in model and upper.inode(path).is_dir:
            raise _NotApplicable
        done = getattr(upper, verb)(*((path, other) if verb == "rename" else (path,)))
        _follow(model, verb, path, other, done)
    elif verb in ("foreign", "foreign_dir", "vanish"):
        _show(upper, model, verb, path)
    elif verb == "crash":
        upper.crash()
    elif verb == "deletes":
        upper.carry_out_deletes()
    else:
        _persist(upper, verb, path)


def _follow(model: dict[str, int], verb: str, path: str, other: str, done: object) -> None:
    if verb in ("create", "write", "mkdir"):
        assert isinstance(done, int)
        model[path] = done
    elif verb in ("unlink", "rmdir"):
        del model[path]
    elif path != other:
        model.pop(other, None)
        for name in [name for name in model if name == path or name.startswith(path + "/")]:
            model[other + name.removeprefix(path)] = model.pop(name)


def _show(upper: Upper, model: dict[str, int], verb: str, path: str) -> None:
    """The store changes behind our back: a name that is ours stays what it is, another follows."""
    row = upper.dentry(path)
    directory = upper.ns.tables.directories.get(upper.place(path).parent)
    if directory.prefix is None:
        raise _NotApplicable
    ours = row is not None and upper.ns.lower.is_ours(row, directory)
    key = directory.prefix + path.rpartition("/")[2]
    evidence: dict[str, Evidence] = {
        "foreign": an_object(key, f"f{upper.tick()}"),
        "foreign_dir": LowerPrefix(key + "/"),
        "vanish": None,
    }
    now = upper.show(path, evidence[verb])
    if ours:
        assert upper.dentry(path) == row
    there = _names(upper)
    for name in [name for name in model if name == path or name.startswith(path + "/")]:
        if name not in there:
            assert not ours
            del model[name]
    if now is not None and now.ino is not None:
        model[path] = now.ino


def _persist(upper: Upper, verb: str, path: str) -> None:
    kind = {"upload": TaskKind.UPLOAD, "start": TaskKind.UPLOAD, "copy": TaskKind.COPY, "mark": TaskKind.MARKER}[verb]
    if upper.state(path) != "live" or upper.ns.tables.tasks.of_inode(upper.ino(path), kind) is None:
        raise _NotApplicable
    if verb == "mark" and upper.ns.tables.dentries.has_live(upper.ino(path)):
        raise _NotApplicable
    getattr(upper, verb)(path)


def _names(upper: Upper) -> dict[str, int]:
    found: dict[str, int] = {}
    pending = [("", ROOT_INO)]
    while pending:
        above, ino = pending.pop()
        for dentry in upper.ns.tables.dentries.children(ino, after=b"", count=1000):
            if dentry.ino is not None:
                path = f"{above}{dentry.name.decode()}"
                found[path] = dentry.ino
                pending.append((path + "/", dentry.ino))
    return found
