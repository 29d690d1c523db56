"""What the persister records while it moves the tree of a renamed directory."""

from __future__ import annotations

from fusecache.namespace.records import TaskKind
from fusecache.namespace.relocations import Relocated
from fusecache.types import ETag, ObjectKey
from tests.unit.builders import Upper, an_object


def test_a_relocation_moves_the_tree_and_ends_the_whiteout(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.foreign("d/a", "e")
    upper.foreign_dir("d/e")
    upper.rename("d", "f")
    upper.relocate("f", ["a"])
    directories = upper.ns.tables.directories
    assert directories.get(ino).prefix == "f/"
    assert directories.get(upper.ino("f/e")).prefix == "f/e/"
    assert upper.live("f/a").lower == upper.lower_id("f/a", "c")
    assert upper.inode("f/a").base_key == "f/a"
    assert upper.state("d") == "hidden"  # the sources are still there
    assert upper.carry_out_deletes() == {"d/a"}
    assert (upper.state("d"), upper.todo()) == ("settled", [])


def test_what_is_listed_below_an_opaque_directory_is_relocated_with_it(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.rename("d", "e")
    upper.mkdir("d")
    upper.mkdir("d/c")
    upper.persist("d/c/f")
    directories = upper.ns.tables.directories
    child = upper.ino("d/c")
    assert directories.get(upper.ino("d")).prefix is None  # the store still has what went to e
    assert directories.get(child).prefix is None  # nor what went to e/c
    upper.rename("d", "g")
    upper.relocate("g", ["c/f"])
    assert directories.get(upper.ino("g")).prefix == "g/"
    assert directories.get(child).prefix == "g/c/"


def test_sources_are_kept_while_the_old_prefix_is_read(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign("d/a", "e")
    upper.rename("d", "f")
    started = upper.start("f", TaskKind.RELOCATE)
    upper.ns.drain.relocations.relocated(started.task, [], "d/a", now_ns=upper.tick())
    upper.crash()
    assert upper.task(TaskKind.RELOCATE, "f").position == "d/a"
    assert upper.show("f/b", an_object("d/b")) is not None  # not known before, and listed at the old place


def test_a_directory_renamed_on_during_its_relocation_follows(upper: Upper) -> None:
    ino = upper.foreign_dir("d")
    upper.rename("d", "e")
    started = upper.start("e", TaskKind.RELOCATE)
    upper.rename("e", "f")
    assert upper.state("e") == "hidden"  # the copies are made there
    relocations = upper.ns.drain.relocations
    relocations.flipped(started.task, now_ns=upper.tick())
    relocations.relocated_all(upper.task(TaskKind.RELOCATE, "f"), now_ns=upper.tick())
    assert upper.todo() == [f"relocate {ino} from e/"]
    assert (upper.state("d"), upper.state("e")) == ("settled", "hidden")
    upper.relocate("f")
    assert (upper.state("e"), upper.todo()) == ("settled", [])


def test_a_directory_removed_after_the_flip_leaves_no_whiteout(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.rename("d", "e")
    started = upper.start("e", TaskKind.RELOCATE)
    upper.ns.drain.relocations.flipped(started.task, now_ns=upper.tick())
    task = upper.task(TaskKind.RELOCATE, "e")
    upper.rmdir("e")
    upper.ns.drain.relocations.relocated_all(task, now_ns=upper.tick())
    assert (upper.state("d"), upper.state("e")) == ("settled", "settled")


def test_a_directory_renamed_back_leaves_no_whiteout_below(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign("d/a")
    upper.rename("d", "e")
    upper.unlink("e/a")
    upper.carry_out_deletes()
    assert upper.state("e/a") == "hidden"  # a relocation might yet copy it
    upper.rename("e", "d")
    upper.ns.drain.abandoned(upper.task(TaskKind.RELOCATE, "d"), now_ns=upper.tick())
    assert upper.state("d/a") == "settled"
    assert upper.show("d/a", an_object("d/a", "theirs")) is not None


def test_a_name_removed_during_the_relocation_takes_its_copy_along(upper: Upper) -> None:
    upper.foreign_dir("d")
    upper.foreign("d/a", "e")
    upper.rename("d", "f")
    started = upper.start("f", TaskKind.RELOCATE)
    place = upper.place("f/a")
    upper.unlink("f/a")
    relocations = upper.ns.drain.relocations
    relocations.flipped(started.task, now_ns=upper.tick())
    task = upper.task(TaskKind.RELOCATE, "f")
    relocations.swept(task, [(upper.lower_id("f/a", "c").key, place)], now_ns=upper.tick())
    relocations.relocated_all(task, now_ns=upper.tick())
    assert upper.carry_out_deletes() == {"d/a", "f/a"}
    assert upper.state("f/a") == "settled"


def test_what_was_copied_stays_hidden_when_a_later_file_of_its_name_is_removed(upper: Upper) -> None:
    """Its directory is still read where it was."""
    upper.foreign_dir("d")
    upper.foreign("d/a", "e")
    upper.rename("d", "f")
    task = upper.start("f", TaskKind.RELOCATE).task
    relocations = upper.ns.drain.relocations
    copied = Relocated(ObjectKey("d/a"), ETag("e"), upper.place("f/a"), upper.lower_id("f/a", "c"))
    relocations.relocated(task, [copied], "d/a", now_ns=upper.tick())
    upper.unlink("f/a")
    upper.carry_out_deletes()
    assert upper.state("f/a") == "hidden"
    upper.create("f/a")
    upper.unlink("f/a")
    assert upper.state("f/a") == "hidden"
    assert upper.show("f/a", an_object("d/a", "e")) is None
    relocations.flipped(task, now_ns=upper.tick())
    relocations.relocated_all(upper.task(TaskKind.RELOCATE, "f"), now_ns=upper.tick())
    assert upper.state("f/a") == "settled"
