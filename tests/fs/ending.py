"""What must hold when nothing is left to do, whatever others have done to the store."""

from __future__ import annotations

from collections import Counter

from fusecache.config.model import MARKERS, STAGING
from fusecache.errors import FileSystemError
from fusecache.namespace.records import Stuck, Task
from fusecache.persist.staging import Patterns
from fusecache.types import InodeNo
from tests.fs.draining import Drained
from tests.fs.foreign import Account, ForeignStore

PATTERNS = Patterns(staging=STAGING, markers=MARKERS)


class Ending:
    """What must hold when nothing is left to do."""

    def __init__(self, world: Drained, store: ForeignStore, account: Account, *, was_killed: bool) -> None:
        """`was_killed`: a daemon, or an answer."""
        self._world = world
        self._account = account
        self._was_killed = was_killed
        self._bucket = store.objects()
        self._tree: dict[str, bytes] = {}
        self._local: dict[str, bytes] = {}
        self._directories: set[str] = set()
        self._inodes: dict[str, InodeNo] = {}
        self._unreadable: set[InodeNo] = set()

    async def check(self) -> None:
        await self._walk("")
        missing = self._account.missing({*self._bucket.values(), *self._local.values()})
        is_stuck = has_lost(self._world) or any(ino in self._unreadable for ino in self._local_inodes())
        if is_stuck:
            missing -= set(self._tree.values())
        assert not missing, f"lost: {missing}, {self._bucket}"
        if is_stuck:
            return  # what is still needed here waits for ever, and all that waits for it
        self._compare()
        self._check_keys()
        left = [task for task in tasks_of(self._world) if task.ino not in self._local_inodes()]
        assert not left, f"tasks left: {left}, {self._bucket}"

    async def _walk(self, above: str) -> None:
        for name in await self._world.ls(above.rstrip("/")):
            path = above + name
            if name.endswith("/"):
                self._directories.add(path)
                await self._walk(path)
                continue
            self._inodes[path] = (await self._world.stat(path)).ino
            stays = is_local(path) and await state_of(self._world, path) == b"local"
            try:
                data = await self._world.read_file(path)
            except FileSystemError as exc:
                data = repr(exc).encode()
                self._unreadable.add(self._inodes[path])
            (self._local if stays else self._tree)[path] = data

    def _local_inodes(self) -> set[InodeNo]:
        return {self._inodes[path] for path in self._local}

    def _compare(self) -> None:
        """The bucket is the tree, minus what is local; and a directory's marker is there if nothing else is."""
        objects = {key: data for key, data in self._bucket.items() if not key.endswith("/")}
        missing = {path: data for path, data in self._tree.items() if objects.get(path) != data}
        extra = {key: data for key, data in objects.items() if key not in self._tree and key not in self._local}
        assert not missing, f"in the tree only: {missing}, {self._bucket}"
        assert not extra, f"in the bucket only: {extra}, {sorted(self._tree)}"
        markers = self._bucket.keys() - objects.keys()
        empty = {path for path in self._directories if not self._has_below(path)}
        assert empty <= markers, f"no markers: {empty - markers}, {self._bucket}"
        assert markers <= self._directories, f"markers of nothing: {markers - self._directories}"

    def _has_below(self, above: str) -> bool:
        paths = (*self._tree, *self._local, *self._directories)
        return "_temporary/" in above or any(path != above and path.startswith(above) for path in paths)

    def _check_keys(self) -> None:
        for key, data in self._bucket.items():
            if is_aside(key):
                assert data in self._account.theirs, f"kept beside, and ours: {key}, {self._bucket}"
            elif key not in self._local:
                assert data not in self._account.replaced, f"came back: {key} {data!r}, {self._bucket}"
        assert not any(key.startswith(".fusecache-tmp/") for key in self._bucket)
        # One that was killed between keeping a version aside and replacing it keeps it aside again.
        once = [data for key, data in self._bucket.items() if data and (not self._was_killed or not is_aside(key))]
        for data, count in Counter(once).items():
            paths = [path for path in self._tree if self._tree[path] == data]
            assert count == 1 or len({self._inodes[path] for path in paths}) == 1, f"twice: {data!r}, {self._bucket}"


def is_local(path: str) -> bool:
    """Whether it may be: what the store has had under another name is not."""
    return PATTERNS.is_staging(path.encode().split(b"/"))


async def state_of(world: Drained, path: str) -> bytes:
    return await world.getxattr(path, b"user.fusecache.state")


def tasks_of(world: Drained) -> list[Task]:
    columns = ", ".join(Task._fields)
    return [Task._make(row) for row in world.ns.database.connection.execute(f"SELECT {columns} FROM task")]


def has_lost(world: Drained) -> bool:
    """Whether a file is stuck, rightly: somebody did away with the version that it still needs."""
    return any(task.stuck == Stuck.GONE for task in world.ns.tables.tasks.stuck())


def is_aside(key: str) -> bool:
    return ".conflict-" in key
