"""What is being written right now: keys, in memory only. After a crash it is simply due again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fusecache.namespace.keys import ancestors
from fusecache.types import ObjectKey, StoreNo


class InFlight:
    """The tasks that have a worker, and the keys that each may be changing."""

    def __init__(self) -> None:
        self._owners: dict[int, set[tuple[StoreNo, str]]] = {}
        self._keys: set[tuple[StoreNo, str]] = set()
        self._above: Counter[tuple[StoreNo, str]] = Counter()

    def __repr__(self) -> str:
        return f"<InFlight {len(self._owners)} tasks, {len(self._keys)} keys>"

    def __contains__(self, task: int) -> bool:
        return task in self._owners

    def __len__(self) -> int:
        return len(self._owners)

    def claim(self, task: int, store: StoreNo, keys: Iterable[ObjectKey | str] = ()) -> None:
        """`task` has a worker, which writes `keys`; may be called again for more of them."""
        owned = self._owners.setdefault(task, set())
        for key in keys:
            claimed = (store, key)
            assert claimed not in self._keys, f"{key} is in flight twice"
            owned.add(claimed)
            self._keys.add(claimed)
            self._above.update((store, prefix) for prefix in ancestors(key))

    def release_keys(self, task: int) -> None:
        """The task goes on, with other keys."""
        owned = self._owners[task]
        for store, key in owned:
            self._keys.discard((store, key))
            for prefix in ancestors(key):
                self._drop_above((store, prefix))
        owned.clear()

    def release(self, task: int) -> None:
        """The worker has ended."""
        self.release_keys(task)
        del self._owners[task]

    def has(self, store: StoreNo, key: str) -> bool:
        """Whether exactly this key is being written or deleted."""
        return (store, key) in self._keys

    def conflicts(self, store: StoreNo, key: str, *, but: int | None = None) -> bool:
        """Whether `key`, one above it or one below it is in flight: such keys exclude each other.

        What task `but` has claimed does not count: a directory's marker goes along with what is below it.
        """
        own = self._owners.get(but, set()) if but is not None else set()
        below = key if key.endswith("/") else f"{key}/"
        near = {(store, key), (store, below[:-1]), (store, below)}
        for prefix in ancestors(key):
            near |= {(store, prefix), (store, prefix[:-1])}
        if any(each in self._keys and each not in own for each in near):
            return True
        own_below = sum(each == store and name.startswith(below) and name != below for each, name in own)
        return self._above[store, below] > own_below

    def is_below(self, store: StoreNo, prefix: str) -> bool:
        """Whether a key at or below `prefix` is in flight."""
        return (store, prefix) in self._above or (store, prefix) in self._keys

    def _drop_above(self, prefix: tuple[StoreNo, str]) -> None:
        self._above[prefix] -= 1
        if not self._above[prefix]:
            del self._above[prefix]
