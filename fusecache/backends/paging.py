"""Pages as ListObjectsV2 makes them, for stores that walk their keys themselves."""

from __future__ import annotations

from collections.abc import Iterable

from fusecache.types import ListPage, ObjectInfo, ObjectKey

Entry = ObjectInfo | ObjectKey
"""What a listing shows: an object, or (as its key, ending in the delimiter) a common prefix."""

_AFTER_KEY = "k:"
_AFTER_PREFIX = "p:"


def fold(objects: Iterable[ObjectInfo], prefix: str, delimiter: str | None) -> Iterable[Entry]:
    """Keep the objects that begin with `prefix`; those with the delimiter behind it appear as their prefix."""
    last: str | None = None
    for info in objects:
        if not info.key.startswith(prefix):
            continue
        cut = info.key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            yield info
        elif (common := info.key[: cut + len(delimiter or "")]) != last:
            last = common
            yield ObjectKey(common)


def page_of(entries: Iterable[Entry], *, token: str | None, start_after: str | None, limit: int) -> ListPage:
    """Cut one page out of `entries`, which come in bytewise order.

    Python compares str by code point, which is the bytewise order of UTF-8.
    """
    objects: list[ObjectInfo] = []
    prefixes: list[ObjectKey] = []
    last: Entry | None = None
    for entry in entries:
        if not _is_beyond(entry, token, start_after):
            continue
        if len(objects) + len(prefixes) == limit:
            return ListPage(tuple(objects), tuple(prefixes), _token_after(last))
        last = entry
        if isinstance(entry, ObjectInfo):
            objects.append(entry)
        else:
            prefixes.append(entry)
    return ListPage(tuple(objects), tuple(prefixes), None)


def beyond_key(token: str | None, start_after: str | None) -> str:
    """Return a key such that nothing at or before it is on the page (a walker may skip so far)."""
    return token[2:] if token else start_after or ""


def _is_beyond(entry: Entry, token: str | None, start_after: str | None) -> bool:
    key = entry.key if isinstance(entry, ObjectInfo) else entry
    if token:
        if token.startswith(_AFTER_PREFIX) and key.startswith(token[2:]):
            return False
        return key > token[2:]
    if start_after is None:
        return True
    # A prefix stands for keys that lie behind it: it is shown if one of them can be beyond.
    return key > start_after or (isinstance(entry, str) and start_after.startswith(key))


def _token_after(last: Entry | None) -> str | None:
    if last is None:
        return None
    return _AFTER_KEY + last.key if isinstance(last, ObjectInfo) else _AFTER_PREFIX + last
