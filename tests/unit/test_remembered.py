"""What pace a store takes is known after a restart, if that was a moment ago."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from fusecache.backends.pace import Aimd, Limits, Pacer
from fusecache.namespace.database import Database
from fusecache.persist.remembered import Remembered
from fusecache.types import StoreNo

KNOWN: Mapping[str, Mapping[str, float]] = {"write": {"": 200.0, "hot/": 20.0}, "delete": {"": 5.0}}
STORE, OTHER = StoreNo(1), StoreNo(2)
MINUTE_NS = 60_000_000_000


def pacer() -> Pacer:
    return Pacer(Aimd(), Limits(), clock=lambda: 0.0)


class Process:
    """A mount's pacers, of two stores, and what it remembers."""

    def __init__(self, database: Database, *, now_ns: int) -> None:
        self.now_ns = now_ns
        self.pacers = {STORE: pacer(), OTHER: pacer()}
        self.remembered = Remembered(database, self.pacers, wall_ns=lambda: self.now_ns)

    def known(self) -> list[Mapping[str, Mapping[str, float]]]:
        return [pacer.known() for pacer in self.pacers.values()]


@contextmanager
def opened(root: Path, *, now_ns: int) -> Iterator[Process]:
    database = Database(root / "namespace.db", boot_id="boot")
    try:
        yield Process(database, now_ns=now_ns)
    finally:
        database.close()


def learned(root: Path) -> None:
    """Have a process learn something of one store, at minute 10."""
    with opened(root, now_ns=0) as process:
        process.remembered.save()
        assert process.known() == [{}, {}]
        process.now_ns = 10 * MINUTE_NS
        process.pacers[OTHER].recall(KNOWN)
        process.remembered.save()


@pytest.mark.parametrize(("minute", "is_known"), [(10, True), (20, True), (21, False), (9, True), (-1, False)])
def test_it_counts_for_a_while(tmp_path: Path, minute: int, is_known: bool) -> None:
    """Not if the clock was set back by far: then nobody knows how long ago it was."""
    learned(tmp_path)
    with opened(tmp_path, now_ns=minute * MINUTE_NS) as process:
        assert process.known() == [{}, KNOWN if is_known else {}]


def test_what_nobody_confirms_grows_old(tmp_path: Path) -> None:
    learned(tmp_path)
    with opened(tmp_path, now_ns=19 * MINUTE_NS) as process:
        process.remembered.save()
    with opened(tmp_path, now_ns=21 * MINUTE_NS) as process:
        assert process.known() == [{}, {}]
