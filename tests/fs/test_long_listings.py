"""A directory of very many keys: shown from its first page on, at a LIST a thousand and no HEAD, once."""

from __future__ import annotations

from pathlib import Path

from fusecache.types import ETag, ListPage, ObjectInfo, ObjectKey
from tests.amounts import amount
from tests.fs.harness import CountedStore, World, a_world

COUNT = amount("FUSECACHE_LISTED", usual=20_000, soak=1_000_000)


class EndlessStore(CountedStore):
    """Has `d/00000000` and so on, of which there are no more in memory than are asked for."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    async def list(
        self,
        prefix: str,
        *,
        delimiter: str | None,
        token: str | None = None,
        start_after: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        self.requests["list"] += 1
        if not prefix:
            return ListPage((), ("d/",), None)
        if prefix != "d/":
            return ListPage((), (), None)
        start = int(token or 0)
        end = min(start + limit, self._count)
        keys = (ObjectKey(f"d/{n:08d}") for n in range(start, end))
        found = tuple(ObjectInfo(key, 1, ETag(f"{key}"), 1_700_000_000_000_000_000) for key in keys)
        return ListPage(found, (), str(end) if end < self._count else None)


async def read(world: World, *, count: int | None = None) -> int:
    """Read a directory as `ls -U` does; return how many names there were, up to `count` or a few more."""
    ino = (await world.stat("d")).ino
    number = await world.fs.opendir(ino)
    shown = 0
    while names := await world.fs.streams.get(number).shown(shown, 1000):
        assert [each.name for each in names] == [b"%08d" % n for n in range(shown, shown + len(names))]
        shown = names[-1].position
        if count is not None and shown >= count:
            break
    world.fs.releasedir(number)
    return shown


async def test_the_first_names_come_with_the_first_page(tmp_path: Path) -> None:
    store = EndlessStore(COUNT)
    async with a_world(tmp_path, store) as world:
        await world.stat("d")
        store.since()
        assert await read(world, count=100) == 1000
        assert store.since() == {"list": 1}


async def test_each_page_is_asked_for_once_also_after_a_restart(tmp_path: Path) -> None:
    store = EndlessStore(COUNT)
    async with a_world(tmp_path, store) as world:
        await world.stat("d")
        store.since()
        assert await read(world) == COUNT
        assert store.since() == {"list": -(-COUNT // 1000)}
        assert await read(world) == COUNT
        assert store.since() == {}
    async with a_world(tmp_path, store) as world:
        assert await read(world) == COUNT
        assert store.since() == {}
