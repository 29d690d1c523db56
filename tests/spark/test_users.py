"""Whoever Spark runs as: it owns what it writes on a mount of root's, and finds it so after the next mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.spark.session import somebody
from tests.spark.world import World

pytestmark = [pytest.mark.mount, pytest.mark.slow]


def test_executors_are_somebody_else_than_the_mount(world: World) -> None:
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED with another user: only root can become somebody else")
    table = world.root / "owned"
    with world.copies_nothing():
        world.spark.sql(
            f"CREATE TABLE owned USING parquet LOCATION 'file://{table}' AS SELECT id FROM range(0, 9, 1, 3)"
        )
    assert {path.stat().st_uid for path in (table, *table.iterdir())} == {somebody().pw_uid}
    assert Path(f"/proc/{world.mount.pid}").stat().st_uid == 0
    world.flushed()
    assert world.seen_by_others("owned", ["id"]) == [(number,) for number in range(9)]


# Hive asks for the LocalFileSystem by its class.
@pytest.mark.parametrize("world", ["default"], indirect=True)
def test_hive_may_use_its_scratch_directory_after_a_remount(world: World) -> None:
    """Hive makes it for everybody, and refuses to start where it is not: nobody may list it, all may write to it."""
    scratch = world.root / "hive" / "scratch"
    own = world.spark.ask("hive_session", scratch=f"file://{scratch}")
    assert own.startswith(f"file:{scratch}/")
    for _ in range(2):
        assert scratch.stat().st_mode & 0o7777 == 0o733
        world.flushed()
        world.mount.umount()
        world.mount.mount()
    assert world.spark.ask("hive_session", scratch=f"file://{scratch}") != own
    scratch.chmod(0o700)
    with pytest.raises(AssertionError, match="should be writable"):
        world.spark.ask("hive_session", scratch=f"file://{scratch}")
