"""What has to be true of the rows before a key is written or deleted: its readers."""

from __future__ import annotations

import pytest

from fusecache.namespace.records import Task, TaskKind
from fusecache.persist.holds import Fate, Holds
from fusecache.persist.inflight import InFlight
from fusecache.types import ObjectKey, StoreNo
from tests.unit.builders import Upper


class Rig:
    """The holds of a namespace, of whose keys some are read by open files or in flight."""

    def __init__(self, upper: Upper) -> None:
        self.upper = upper
        self.inflight = InFlight()
        self.is_open: set[str] = set()
        self._holds = Holds(upper.ns.tables, upper.ns.policies, self.inflight, is_read=self._is_read)

    def _is_read(self, store: StoreNo, key: ObjectKey) -> bool:
        return store == self.upper.ns.store and key in self.is_open

    def write(self, path: str) -> bool:
        """Whether the file at `path` has to wait before it is sent or copied to where it belongs."""
        place = self.upper.place(path)
        key = self.upper.ns.tables.directories.home_key(place)
        return self._holds.write(self.upper.ns.store, key, place, self.upper.ino(path))

    def delete(self, key: str) -> Fate:
        """What becomes of the deletes of a key: of all of them the same."""
        [fate] = {self._holds.delete(task) for task in self.deletes(key)}
        return fate

    def deletes(self, key: str) -> list[Task]:
        return [task for task in self.upper.tasks() if task.kind == TaskKind.DELETE and task.key == key]


@pytest.fixture
def rig(upper: Upper) -> Rig:
    return Rig(upper)


# --- writes ---


def test_a_new_file_waits_for_the_one_that_reads_its_key(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.rename("a", "b")
    upper.write("a")
    assert rig.write("a")
    assert not rig.write("b")
    upper.copy("b")
    assert not rig.write("a")


def test_two_that_change_places_wait_for_each_other(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.foreign("b")
    for old, new in ("at", "ba", "tb"):
        upper.rename(old, new)
    assert rig.write("a")
    assert rig.write("b")


def test_a_file_does_not_wait_for_itself(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    assert not rig.write("a")


# --- deletes ---


def test_the_delete_of_what_a_name_reads_is_parked(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.rename("a", "b")
    assert rig.delete("a") is Fate.PARK
    upper.copy("b")
    assert rig.delete("a") is Fate.GO


def test_it_is_parked_too_where_a_new_file_came_and_went(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.rename("a", "b")
    upper.write("a")
    upper.unlink("a")
    assert all(task.due_ns is not None for task in rig.deletes("a"))
    assert rig.delete("a") is Fate.PARK


def test_the_delete_of_what_is_at_home_again_is_void(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.rename("a", "b")
    upper.rename("b", "a")
    assert rig.delete("a") is Fate.VOID


def test_a_delete_waits_for_an_open_file(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.unlink("a")
    rig.is_open.add("a")
    assert rig.delete("a") is Fate.WAIT
    rig.is_open.clear()
    assert rig.delete("a") is Fate.GO


def test_a_delete_waits_for_the_upload_that_makes_it_needless(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.unlink("a")
    upper.write("a")
    assert rig.delete("a") is Fate.WAIT
    upper.unlink("a")
    assert rig.delete("a") is Fate.GO


def test_nothing_is_done_to_a_key_that_is_in_flight(upper: Upper, rig: Rig) -> None:
    upper.foreign("a")
    upper.unlink("a")
    upper.write("a")
    rig.inflight.claim(1, upper.ns.store, ["a"])
    assert rig.write("a")
    assert rig.delete("a") is Fate.WAIT
    rig.inflight.release(1)
    assert not rig.write("a")
