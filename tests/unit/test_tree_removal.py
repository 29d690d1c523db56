"""What unlink and rmdir leave behind: whiteouts and deletes, in every state a name can be in."""

from __future__ import annotations

import pytest

from fusecache.errors import DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound
from fusecache.namespace.records import TaskKind
from tests.unit.builders import Upper, rows_of

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
    upper.copied(started, upper.lower_id("b", "c1"))
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
