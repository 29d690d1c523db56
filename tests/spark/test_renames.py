"""Renames as committers do them, through Hadoop: each is a rename(2), since Hadoop copies where one fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spark.session import FELL_BACK
from tests.spark.world import World

pytestmark = [pytest.mark.mount, pytest.mark.slow]


def place(world: World, name: str) -> Path:
    """Make a directory that Spark's user may write to."""
    directory = world.root / name
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def rename(world: World, source: Path, target: Path) -> None:
    assert world.spark.ask("rename", source=f"file://{source}", target=f"file://{target}")
    assert not source.exists()


@pytest.mark.parametrize("is_clean", [False, True], ids=["dirty", "clean"])
def test_a_directory_replaces_an_empty_one(world: World, is_clean: bool) -> None:
    root = place(world, f"replaced-{is_clean}")
    for name in ("new", "old"):
        (root / name).mkdir()
        (root / name).chmod(0o777)
    (root / "new" / "part").write_bytes(b"x" * 10_000)
    ino = (root / "new" / "part").stat().st_ino
    if is_clean:
        world.flushed()
    with world.copies_nothing():
        rename(world, root / "new", root / "old")
    assert (root / "old" / "part").stat().st_ino == ino
    world.flushed()


def test_a_copy_would_have_been_noticed(world: World) -> None:
    """From another file system there is no rename(2): what the others say never happens is seen when it does."""
    root, source = place(world, "copied"), world.spark.work / "tmp" / "elsewhere"
    source.write_bytes(b"x" * 10_000)
    with pytest.raises(AssertionError, match=FELL_BACK), world.copies_nothing():
        rename(world, source, root / "here")
    assert (root / "here").read_bytes() == b"x" * 10_000
    world.flushed()
