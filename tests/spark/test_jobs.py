"""What Spark's jobs do to a table, and what is in the bucket then: the rows, and no trace of how they came there."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.amounts import amount
from tests.faults.proxy import Record
from tests.faults.rules import Limit
from tests.spark.world import MARKER, PREFIX, World

pytestmark = [pytest.mark.mount, pytest.mark.slow]

SLICES = amount("FUSECACHE_SPARK_SLICES", usual=4, soak=16)
"""The tasks of a statement: each writes a file for each day."""
DAYS = amount("FUSECACHE_SPARK_DAYS", usual=3, soak=20)
COUNT = SLICES * DAYS * 5
BY_DAY = f"id, concat('d', id % {DAYS}) AS day"
PACES = {"free": None, "throttled": Limit(per_s=10, burst=3)}

NOT_FAILED = {"Success", "TaskKilled", "TaskCommitDenied"}
"""How Spark calls the ends of a task that don't count as failures: the latter two are of one that was done twice."""

_names = (f"t{number}" for number in itertools.count())


@dataclass
class Table:
    """A table, and what must be in it."""

    world: World
    name: str
    rows: set[tuple[int, str]] = field(default_factory=set)

    def make(self, kind: str = "") -> None:
        """Make it empty; `kind`: one of those that Hive's own code writes."""
        columns, using = ("id BIGINT", "") if kind else ("id BIGINT, day STRING", "USING parquet")
        partition = "day STRING" if kind else "day"
        self.world.spark.sql(
            f"CREATE TABLE {self.name} ({columns}) {using} PARTITIONED BY ({partition}) {kind} "
            f"LOCATION 'file://{self.world.root / self.name}'"
        )

    def write(self, how: str, first: int, columns: str, partition: str = "") -> None:
        """Write `COUNT` rows whose ids begin at `first`; `columns` are expressions of `id`."""
        rows = f"SELECT {columns} FROM range({first}, {first + COUNT}, 1, {SLICES})"
        with self.world.copies_nothing():
            self.world.spark.sql(f"INSERT {how} {self.name} {partition} {rows}")

    def is_right(self) -> None:
        """Look at it through the mount, and from the bucket."""
        found = self.world.spark.sql(f"SELECT id, day FROM {self.name}")
        assert sorted(map(tuple, found)) == sorted(self.rows)
        self.world.flushed()
        assert self.world.seen_by_others(self.name, ["id", "day"]) == sorted(self.rows)


@pytest.fixture(params=[1, 2], ids=["v1", "v2"])
def table(request: pytest.FixtureRequest, world: World) -> Iterator[Table]:
    """A table of jobs that are committed by this version of Hadoop's algorithm."""
    before = world.spark.ends()
    world.spark.sql(f"SET mapreduce.fileoutputcommitter.algorithm.version={request.param}")
    yield Table(world, next(_names))
    world.faults.heal()
    world.spark.sql("RESET")
    assert set(world.spark.ends() - before) <= NOT_FAILED


def days(numbers: range) -> set[tuple[int, str]]:
    """Return the rows that `BY_DAY` makes of these ids."""
    return {(number, f"d{number % DAYS}") for number in numbers}


@pytest.mark.parametrize("pace", PACES.values(), ids=PACES.keys())
def test_a_table_is_made_overwritten_appended_to_and_changed_by_partition(table: Table, pace: Limit | None) -> None:
    world = table.world
    table.make()
    table.rows = days(range(COUNT))
    table.write("OVERWRITE", 0, BY_DAY)
    table.is_right()
    world.faults.news()
    if pace is not None:
        world.faults.limit(pace)
    table.rows = days(range(COUNT, 2 * COUNT))
    table.write("OVERWRITE", COUNT, BY_DAY)
    table.rows |= days(range(COUNT))
    table.write("INTO", 0, BY_DAY)
    table.rows = {row for row in table.rows if row[1] != "d1"} | {(number, "d1") for number in range(COUNT)}
    table.write("OVERWRITE", 0, "id", "PARTITION (day = 'd1')")
    table.is_right()
    records = world.faults.news()
    assert_marked_last(records, f"{PREFIX}{world.root.name}/{table.name}/{MARKER}")
    assert any(record.status == 503 for record in records) == (pace is not None)

    world.spark.sql("SET spark.sql.sources.partitionOverwriteMode=dynamic")
    table.rows = {row for row in table.rows if row[1] != "d2"} | {(number, "d2") for number in range(COUNT)}
    table.write("OVERWRITE", 0, "id, 'd2'", "PARTITION (day)")
    table.is_right()


def assert_marked_last(records: list[Record], marker: str) -> None:
    """The marker of a finished table went before anything of it changed, and came back after everything had."""
    changes = [each for each in records if each.kind in ("write", "copy", "delete") and 200 <= each.status < 300]
    last = max(number for number, each in enumerate(changes) if each.kind != "delete")
    assert list(changes[0].deleted) == [marker]
    assert (changes[last].operation, changes[last].key) == ("PutObject", marker)
    assert changes[last].at_s >= max(each.at_s + each.took_s for each in changes[:last])
    table = marker.removesuffix(MARKER)
    late = [key for each in changes[last + 1 :] for key in each.deleted if key.startswith(table)]
    assert all(key.endswith("/") for key in late), late  # what stood for an empty directory may go later


def test_a_task_that_is_slow_is_done_twice_and_counts_once(table: Table) -> None:
    before = table.world.spark.speculated()
    table.make()
    table.rows = {(number, "d0") for number in range(COUNT)}
    slow = "IF(id = 1, reflect('java.lang.Thread', 'sleep', CAST(8000 AS BIGINT)), '')"
    table.write("INTO", 0, f"id, IF({slow} IS NULL, '', 'd0') AS day")
    assert table.world.spark.speculated() == before + 1
    table.is_right()


def test_hive_moves_what_it_has_staged(table: Table) -> None:
    """Its own code writes to `.hive-staging*` in the table, and moves each partition."""
    table.world.spark.sql("SET spark.sql.hive.convertMetastoreParquet=false")
    table.make("STORED AS PARQUET")
    table.rows = {(number, "d1") for number in range(COUNT)}
    table.write("INTO", 0, "id", "PARTITION (day = 'd1')")
    table.rows |= {(number, "d1") for number in range(COUNT, 2 * COUNT)}
    table.write("INTO", COUNT, "id", "PARTITION (day = 'd1')")
    table.rows = days(range(COUNT))
    table.write("OVERWRITE", 0, BY_DAY, "PARTITION (day)")
    table.is_right()
