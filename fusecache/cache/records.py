"""Records by name in a diskcache, which may be lost. Apart from all else, as its import takes long, and few need it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import diskcache
import msgpack

log = logging.getLogger(__name__)

_IN_DATABASE_BYTES = 1 << 20
"""Larger values would become files of their own; a page of 1000 entries has about 100 kB."""

_RECORD_ERRORS = (sqlite3.Error, diskcache.Timeout, OSError, msgpack.UnpackException, ValueError, TypeError)


class MsgpackDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Values as msgpack: what lies on disk is data, whoever wrote it; a pickle would be a program."""

    def put(self, key: str) -> tuple[str, bool]:
        assert isinstance(key, str)
        return key, True

    def get(self, key: str, raw: bool) -> str:
        return key

    def store(self, value: Any, read: bool, key: Any = diskcache.UNKNOWN) -> Any:
        return super().store(msgpack.packb(value, unicode_errors="surrogatepass"), False, key=key)

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:
        assert mode != diskcache.core.MODE_PICKLE, "nothing here is pickled"
        data = super().fetch(mode, filename, value, False)
        return msgpack.unpackb(data, unicode_errors="surrogatepass")


class Records:
    """What fails is logged and absent, never raised."""

    def __init__(self, root: Path, *, tag: str, size_limit: int, keep_s: float) -> None:
        """`tag` names the mount; records go when older than `keep_s`, or the oldest when over `size_limit` bytes."""
        self._root = root
        self._tag = tag
        self._size_limit = size_limit
        self._keep_s = keep_s
        self._disk = self._opened_or_anew()

    def get(self, name: str) -> Any:
        """Return the record; None if there is none."""
        if self._disk is None:
            return None
        try:
            return self._disk.get(name)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not readable: %s", name, exc)
            return None

    def put(self, name: str, value: Any) -> None:
        if self._disk is None:
            return
        try:
            self._disk.set(name, value, expire=self._keep_s, tag=self._tag)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not kept: %s", name, exc)

    def delete(self, name: str) -> None:
        if self._disk is None:
            return
        try:
            self._disk.delete(name)
        except _RECORD_ERRORS as exc:
            log.warning("listing record %s is not deleted: %s", name, exc)

    def close(self) -> None:
        if self._disk is not None:
            self._disk.close()

    def _opened_or_anew(self) -> diskcache.Cache | None:
        """None: not even an empty one can be made, as on a full disk, which a mount is needed to drain."""
        try:
            return self._opened()
        except (sqlite3.Error, diskcache.Timeout) as exc:
            log.warning("%s: begun anew: %s", self._root, exc)
        try:
            shutil.rmtree(self._root)
            return self._opened()
        except (sqlite3.Error, diskcache.Timeout, OSError) as exc:
            log.warning("%s: cannot be made (%s); listings are kept in memory only", self._root, exc)
            return None

    def _opened(self) -> diskcache.Cache:
        return diskcache.Cache(
            self._root,
            timeout=1.0,
            disk=MsgpackDisk,
            disk_min_file_size=_IN_DATABASE_BYTES,
            size_limit=self._size_limit,
            eviction_policy="least-recently-stored",
            sqlite_synchronous=0,  # lost with the power: then it is listed again
        )
