"""What a rename leaves behind: rows, whiteouts and tasks, in every state a name can be in."""

from __future__ import annotations

from functools import partial

import pytest

from fusecache.errors import DirectoryNotEmpty, InvalidArgument, IsADirectory, NotADirectory
from fusecache.namespace.records import TaskKind
from tests.unit.builders import Upper, an_object, count_statements, rows_of


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
    upper.copied(started, upper.lower_id("b", "c1"))
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
