"""A read-only mount refuses every change, and reads on."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fusecache.errors import ReadOnly
from tests.fs.harness import CountedStore, World, a_world

CHANGES: dict[str, Callable[[World], Awaitable[object]]] = {
    "create": lambda world: world.create("new"),
    "open for writing": lambda world: world.open("a", os.O_WRONLY),
    "open and truncate": lambda world: world.open("a", os.O_TRUNC),
    "truncate": lambda world: world.truncate("a", 0),
    "chmod": lambda world: world.setattr("a", mode=0o600),
    "mkdir": lambda world: world.mkdir("new"),
    "symlink": lambda world: world.symlink("x", "new"),
    "unlink": lambda world: world.unlink("a"),
    "rmdir": lambda world: world.rmdir("d"),
    "rename": lambda world: world.rename("a", "new"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_refused(tmp_path: Path, change: str) -> None:
    store = CountedStore()
    await store.foreign({"a": b"bytes", "d/": b""})
    async with a_world(tmp_path, store, read_only=True) as world:
        with pytest.raises(ReadOnly):
            await CHANGES[change](world)
        assert sorted(await world.ls()) == ["a", "d/"]
        assert await world.read_file("a") == b"bytes"
