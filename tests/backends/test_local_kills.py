"""A `file://` store whose process dies between any two of its system calls shows what was there, or what was wished."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fusecache.backends.local import rename
from fusecache.backends.local.attributes import MARKER
from fusecache.backends.local.staging import Staging
from fusecache.backends.local.tree import STAGING, LocalTree
from fusecache.backends.local.writer import LocalWriter, fill_from_source
from fusecache.backends.sources import BytesSource
from fusecache.types import ETag, ObjectKey

CALLS = ("mkdir", "rmdir", "rename", "unlink", "setxattr", "removexattr")
"""Of `os`, with renameat2: all that changes names and attributes."""
Shown = dict[str, dict[str, str]]
"""The keys of a store and their metadata."""


class Killed(BaseException):
    """Instead of a system call, and of every later one: no `finally` has any effect."""


class Store:
    """What a process has of a store; nothing outlives it but the directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._tree = LocalTree(root)
        self._writer = LocalWriter(self._tree, Staging(root, lambda: 1), lambda: 1)

    def put(self, key: str, *, is_new: bool = False, **metadata: str) -> ETag:
        return self._writer.put(ObjectKey(key), fill_from_source(BytesSource(b"")), metadata, None, is_new)

    def delete(self, key: str, etag: ETag | None = None) -> None:
        self._writer.delete(ObjectKey(key), etag)

    def etag(self, key: str) -> ETag:
        return self._tree.info(ObjectKey(key), metadata=False).etag

    def shown(self) -> Shown:
        """Return what a walk shows, which is what its levels and HEADs show."""
        found = {info.key: self._tree.info(info.key, metadata=True).metadata or {} for info in self._tree.walk("", "")}
        assert set(self._by_levels("")) == set(found)
        return found

    def _by_levels(self, prefix: str) -> Iterator[str]:
        for each in self._tree.children(prefix, ""):
            if isinstance(each, str):
                below = list(self._by_levels(each))
                assert below, f"{each} is shown, and holds nothing"
                yield from below
            else:
                yield each.key


class Life:
    """Counts the system calls of a process, and ends it at the nth."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._count = 0
        self.has_ended = False

    def calling(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._count += 1
            if self._count >= self._end:
                self.has_ended = True
                raise Killed
            return call(*args, **kwargs)

        return counted


@contextmanager
def dying_at(nth: int) -> Iterator[Life]:
    life = Life(nth)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, life.calling(getattr(os, name)))
        patch.setattr(rename, "_renameat2", life.calling(rename._renameat2))
        try:
            yield life
        except Killed:
            pass


def nothing(store: Store) -> None:
    """An empty store."""


def theirs(store: Store) -> None:
    """A file in directories of somebody else."""
    (store.root / "a/b").mkdir(parents=True)
    (store.root / "a/b/c").touch()


def theirs_empty(store: Store) -> None:
    (store.root / "a/b").mkdir(parents=True)


def beside(store: Store) -> None:
    store.put("a/b/c")
    store.put("a/x")


def used_marker(store: Store) -> None:
    store.put("a/b/", old="1")
    store.put("a/b/c")


def marker(store: Store) -> None:
    store.put("a/b/", old="1", mode="16877")


def half_made(store: Store) -> None:
    """What a put of `a/b/c` leaves that was killed before its rename."""
    store.put("a/b/c")
    (store.root / "a/b/c").unlink()


def nested(store: Store) -> None:
    store.put("a/")
    store.put("a/b/")


def earlier_marker(store: Store) -> None:
    """As versions made it that knew no `IMPLIED`."""
    theirs_empty(store)
    os.setxattr(store.root / "a/b", MARKER, b"1")


PUTS: list[tuple[Callable[[Store], None], str, bool]] = [
    (nothing, "a/b/c", True),
    (nothing, "a/b/", True),
    (beside, "a/b/", True),
    (beside, "a/b/d/e", True),
    (theirs, "a/b/", True),
    (theirs, "a/b/d", True),
    (theirs_empty, "a/b/", False),
    (theirs_empty, "a/b/c", True),
    (marker, "a/b/", False),
    (marker, "a/b/c/d", True),
    (earlier_marker, "a/b/", False),
    (used_marker, "a/b/", False),
    (half_made, "a", True),
    (half_made, "a/b/", True),
    (half_made, "a/b/c", True),
]
DELETES: list[tuple[Callable[[Store], None], str]] = [
    (beside, "a/b/c"),
    (beside, "a/x"),
    (theirs, "a/b/c"),
    (theirs_empty, "a/b/"),
    (marker, "a/b/"),
    (earlier_marker, "a/b/"),
    (used_marker, "a/b/"),
    (used_marker, "a/b/c"),
    (nested, "a/"),
    (nested, "a/b/"),
    (half_made, "a/b/"),
    (half_made, "a/b/c"),
]


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill loses nothing that was written; without this a test waits for the disk a hundred times."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.mark.parametrize(("begin", "key", "is_new"), PUTS)
def test_a_put(tmp_path: Path, begin: Callable[[Store], None], key: str, is_new: bool) -> None:
    def change(store: Store, _: ETag | None) -> None:
        store.put(key, is_new=is_new, mode="1", other="2")

    def wished(before: Shown) -> Shown:
        # What somebody else made is an object only while it is empty.
        hidden = "a/b/" if begin is theirs_empty else ""
        return {name: told for name, told in before.items() if name != hidden} | {key: {"mode": "1", "other": "2"}}

    die_everywhere(tmp_path / "store", begin, key, change, wished)


@pytest.mark.parametrize(("begin", "key"), DELETES)
def test_a_delete(tmp_path: Path, begin: Callable[[Store], None], key: str) -> None:
    def change(store: Store, etag: ETag | None) -> None:
        store.delete(key, etag)

    def wished(before: Shown) -> Shown:
        return {name: told for name, told in before.items() if name != key}

    die_everywhere(tmp_path / "store", begin, key, change, wished)


def die_everywhere(
    root: Path,
    begin: Callable[[Store], None],
    key: str,
    change: Callable[[Store, ETag | None], None],
    wished: Callable[[Shown], Shown],
) -> None:
    """Die at each system call of a change, look, have it done again, and look again."""
    for nth in itertools.count(1):
        root.mkdir()
        store = Store(root)
        begin(store)
        before = store.shown()
        after = wished(before)
        etag = store.etag(key) if key in before and not key.endswith("/") else None
        with dying_at(nth) as life:
            change(Store(root), etag)
        seen = Store(root).shown()
        assert seen in (before, after), f"killed at call {nth}"
        if life.has_ended and (seen != after or key not in after):  # who finds what was to be put takes it as done
            change(Store(root), etag)
        assert Store(root).shown() == after, f"killed at call {nth}, and done again"
        needed = {above for each in after for above in Path(f"{each}x").parents}
        assert directories(root) | {Path()} == needed | {Path()}, f"left by a kill at call {nth}"
        shutil.rmtree(root)
        if not life.has_ended:
            return


def directories(root: Path) -> set[Path]:
    """Return those that are there, but for what is aside."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_dir())
    return {path for path in found if path.parts[:1] != (STAGING,)}
