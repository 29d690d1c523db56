"""Evidence from the store: taken in where the rows don't know better, and only there."""

from __future__ import annotations

import stat

import pytest

from fusecache.errors import NoSpace, Stale
from fusecache.namespace.lower import Evidence, LowerObject, LowerPrefix
from fusecache.namespace.records import TaskKind
from fusecache.types import ROOT_INO, Attributes, ETag, ObjectKey, Seq
from tests.unit.builders import DEFAULTS, Upper, an_object, check, count_statements, rows_of


def test_a_foreign_object_becomes_a_file(upper: Upper) -> None:
    ino = upper.foreign("a", "e1")
    inode = upper.inode("a")
    assert inode.ino == ino
    assert (inode.mode, inode.uid, inode.gid) == (stat.S_IFREG | 0o640, 1, 2)
    assert (inode.size, inode.mtime_ns, inode.headed) == (7, 5_000, 0)
    assert inode.base == upper.live("a").lower == upper.lower_id("a", "e1")
    assert inode.base_size == 7
    assert upper.tasks() == []


def test_a_foreign_prefix_becomes_a_directory_that_reads_there(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    directory = upper.ns.tables.directories.get(ino)
    assert (directory.prefix, directory.used, directory.marker) == ("d/", 1, 0)
    assert upper.inode("d").mode == stat.S_IFDIR | DEFAULTS.dir_mode
    assert upper.foreign("d/a") == upper.ino("d/a")


@pytest.mark.parametrize("target", [None, b"over/there"])
def test_a_head_tells_what_a_listing_cannot(upper: Upper, target: bytes | None) -> None:
    told = Attributes(stat.S_IFREG | 0o755, 10, 11, 99, target)
    upper.foreign("listed")
    inode = upper.ns.lower.headed(upper.inode("listed"), told)
    upper.show("headed", LowerObject(ObjectKey("headed"), 7, ETag("f1"), 5_000, told))
    size = 7 if target is None else len(target)
    for each in (inode, upper.inode("headed")):
        assert (each.mode, each.uid, each.gid, each.mtime_ns) == (told.mode, 10, 11, 99)
        assert (each.headed, each.symlink, each.size) == (1, target, size)


def test_a_head_without_attributes_is_not_repeated(upper: Upper) -> None:
    upper.foreign("a")
    before = upper.inode("a")
    assert upper.ns.lower.headed(before, None) == before._replace(headed=1)


def test_a_head_of_what_is_gone_is_stale(upper: Upper) -> None:
    upper.foreign("a")
    inode = upper.inode("a")
    upper.unlink("a")
    with pytest.raises(Stale):
        upper.ns.lower.headed(inode, None)


def test_the_same_evidence_again_changes_nothing(upper: Upper) -> None:
    upper.foreign_dir("d")
    found: list[tuple[bytes, Evidence]] = [
        (b"d", LowerPrefix("d/")),
        *((b"%d" % number, an_object(str(number))) for number in range(100)),
        (b"nothing", None),
    ]
    first = upper.ns.lower.merge(ROOT_INO, found, epoch=upper.epoch)
    before = rows_of(upper)
    again = count_statements(upper, lambda: upper.ns.lower.merge(ROOT_INO, found, epoch=upper.epoch))
    assert again["commits"] == 0
    assert again["statements"] <= len(found) + 5  # a query a name
    assert upper.ns.lower.merge(ROOT_INO, found, epoch=upper.epoch) == first
    assert rows_of(upper) == before
    assert first[-1] is None


def test_many_names_are_one_transaction(upper: Upper) -> None:
    found = [(b"%d" % number, an_object(str(number))) for number in range(100)]
    counted = count_statements(upper, lambda: upper.ns.lower.merge(ROOT_INO, found, epoch=upper.epoch))
    assert counted["commits"] == 1


# --- what others changed ---


def test_another_version_is_another_inode(upper: Upper) -> None:
    old = upper.foreign("a", "e1")
    assert upper.foreign("a", "e2") != old
    assert upper.ns.lower.take_lost() == [(upper.place("a"), old, True)]
    assert upper.ns.lower.take_lost() == []
    inode = upper.ns.tables.inodes.get(old)
    assert (inode.nlink, inode.base_etag) == (0, "e1")  # an open handle reads on


def test_what_could_not_be_recorded_was_not_dropped(upper: Upper) -> None:
    upper.foreign("a", "e1")
    database = upper.ns.database.connection
    database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}")
    found: list[tuple[bytes, Evidence]] = [(b"a", an_object("a", "e2"))]
    found += [(b"%0200d" % number, an_object(str(number))) for number in range(100)]
    before = rows_of(upper)
    with pytest.raises(NoSpace):
        upper.ns.lower.merge(ROOT_INO, found, epoch=upper.epoch)
    assert rows_of(upper) == before
    assert upper.ns.lower.take_lost() == []


def test_our_own_version_replaced_is_another_inode(upper: Upper) -> None:
    old = upper.persist("a", "e1")
    assert upper.foreign("a", "e2") != old


def test_what_vanished_is_no_name(upper: Upper) -> None:
    """Nor for an older listing that still shows it."""
    ino, began = upper.foreign("a"), upper.epoch
    upper.tick()
    upper.ns.database.next_seq()
    assert upper.show("a", None) is None
    assert upper.state("a") == "settled"
    assert upper.show("a", an_object("a", "e1"), epoch=began) is None
    assert upper.ns.tables.inodes.get(ino).nlink == 0


def test_a_file_becomes_a_directory_and_back(upper: Upper) -> None:
    upper.foreign("a")
    upper.foreign_dir("a")
    assert upper.inode("a").is_dir
    upper.foreign("a")
    assert not upper.inode("a").is_dir


def test_a_tree_that_vanished_goes_with_all_its_rows(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign_dir("d/e")
    upper.foreign("d/e/a")
    upper.foreign("d/b")
    assert upper.show("d", None) is None
    check(upper.ns)
    assert [row[:3] for row in rows_of(upper)["dentry"]] == [(ROOT_INO, b"d", None)]
    assert [row[0] for row in rows_of(upper)["directory"]] == [ROOT_INO]


# --- what is ours ---


def ours(upper: Upper, path: str) -> None:
    """Assert that nothing that the store shows now changes this name."""
    before = upper.dentry(path)
    prefix = upper.ns.tables.directories.get(upper.place(path).parent).prefix or ""
    key = prefix + path.rpartition("/")[2]
    for evidence in (None, an_object(key, "another"), LowerPrefix(key + "/")):
        shown = upper.show(path, evidence)
        assert upper.dentry(path) == before
        assert shown == (before if before is not None and before.ino is not None else None)


def test_what_is_written_is_ours(upper: Upper) -> None:
    ino = upper.create("a")
    ours(upper, "a")
    upper.close_file(ino)
    ours(upper, "a")
    upper.start("a")
    ours(upper, "a")


def test_what_is_written_over_an_object_is_ours(upper: Upper) -> None:
    upper.foreign("a")
    upper.write("a")
    ours(upper, "a")


def test_what_was_renamed_is_ours_until_it_is_there(upper: Upper) -> None:
    upper.persist("a")
    upper.rename("a", "b")
    ours(upper, "a")
    ours(upper, "b")
    upper.copy("b")
    ours(upper, "a")  # its delete is still to come
    upper.carry_out_deletes()
    assert upper.show("b", an_object("b", "c1")) == upper.live("b")


def test_what_was_removed_is_ours_until_it_is_gone(upper: Upper) -> None:
    upper.persist("a")
    upper.unlink("a")
    ours(upper, "a")


def test_directories_are_ours_while_they_are_local_or_move(upper: Upper) -> None:
    upper.mkdir("local")
    ours(upper, "local")
    upper.foreign_dir("d")
    upper.rename("d", "e")
    ours(upper, "d")
    ours(upper, "e")


def test_below_a_renamed_directory_the_old_prefix_counts(upper: Upper) -> None:
    upper.foreign_dir("d")
    old = upper.foreign("d/a", "e1")
    upper.rename("d", "e")
    assert upper.show("e/a", an_object("d/a", "e1")) == upper.live("e/a")
    upper.show("e/a", an_object("d/a", "e2"))
    assert upper.ino("e/a") != old


def test_a_directory_with_something_of_ours_below_stays(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign_dir("d/e")
    dirty = upper.write("d/e/a")
    assert upper.show("d", None) == upper.live("d")
    assert upper.ino("d/e/a") == dirty
    upper.upload("d/e/a")
    assert upper.show("d", None, epoch=upper.live("d/e/a").epoch) is None


# --- epochs ---


@pytest.mark.parametrize("evidence", [an_object("a", "e1"), None])
def test_what_a_request_saw_before_our_upload_ended_is_old(upper: Upper, evidence: Evidence) -> None:
    upper.persist("a", "e1")
    began = upper.epoch
    upper.write("a")
    upper.upload("a", "e2")
    row = upper.live("a")
    assert upper.show("a", evidence, epoch=began) == row
    assert upper.live("a").etag == "e2"


def test_a_listing_begun_before_an_unlink_was_carried_out_does_not_bring_it_back(upper: Upper) -> None:
    upper.persist("a", "e1")
    upper.unlink("a")
    began = upper.epoch
    upper.carry_out_deletes()
    assert upper.show("a", an_object("a", "e1"), epoch=began) is None
    assert upper.state("a") == "settled"


def test_a_listing_begun_after_it_shows_what_others_made_since(upper: Upper) -> None:
    upper.persist("a", "e1")
    upper.unlink("a")
    upper.carry_out_deletes()
    assert upper.show("a", an_object("a", "theirs")) is not None
    assert upper.live("a").etag == "theirs"


def test_only_a_listing_that_was_merged_whole_ends_a_whiteout(upper: Upper) -> None:
    """One HEAD that shows nothing does not: an older listing may be about."""
    upper.persist("a", "e1")
    upper.unlink("a")
    upper.carry_out_deletes()
    assert upper.show("a", None) is None
    assert upper.state("a") == "settled"
    row = upper.ns.tables.dentries.get(ROOT_INO, b"a")
    assert row is not None
    upper.ns.lower.forget_whiteouts([row], epoch=Seq(row.epoch - 1))
    assert upper.state("a") == "settled"
    upper.ns.lower.forget_whiteouts([row], epoch=row.epoch)
    assert upper.state("a") == "absent"


def test_a_listing_begun_before_a_name_was_made_and_unmade_is_old(upper: Upper) -> None:
    began = upper.epoch
    upper.write("a")
    upper.unlink("a")
    assert upper.show("a", an_object("a"), epoch=began) is None
    assert upper.show("a", an_object("a")) is not None


def test_a_listing_begun_before_a_rename_is_old_for_both_names(upper: Upper) -> None:
    upper.persist("a", "e1")
    began = upper.epoch
    upper.rename("a", "b")
    upper.copy("b", "c1")
    upper.carry_out_deletes()
    assert upper.show("a", an_object("a", "e1"), epoch=began) is None
    assert upper.show("b", None, epoch=began) == upper.live("b")


def test_a_listing_begun_before_a_marker_was_written_is_old(upper: Upper) -> None:
    upper.mkdir("d")
    began = upper.epoch
    upper.mark("d")
    assert upper.show("d", None, epoch=began) == upper.live("d")


def test_epochs_outlive_a_crash(upper: Upper) -> None:
    upper.persist("a", "e1")
    upper.unlink("a")
    began = upper.epoch
    upper.carry_out_deletes()
    upper.crash()
    assert upper.epoch > began
    assert upper.show("a", an_object("a", "e1"), epoch=began) is None
    assert upper.show("a", an_object("a", "theirs")) is not None


# --- markers ---


def test_a_marker_that_was_seen_is_known(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.ns.lower.marker_seen(ino)
    assert upper.ns.tables.directories.get(ino).marker == 1
    assert count_statements(upper, lambda: upper.ns.lower.marker_seen(ino))["commits"] == 0
    assert not [task for task in upper.tasks() if task.kind == TaskKind.MARKER]
