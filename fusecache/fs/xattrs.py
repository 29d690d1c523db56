"""Extended attributes: `user.*` are the application's, `user.fusecache.*` tell what `stat` tells, and that is all."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fusecache.backends.metadata import all_fit
from fusecache.errors import (
    AlreadyExists,
    InvalidArgument,
    NoSpace,
    NoSuchAttribute,
    NotPermitted,
    ReadOnly,
    TooBig,
    Unsupported,
)
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Names
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.namespace.xattrs import packed, unpacked
from fusecache.types import InodeNo

log = logging.getLogger(__name__)

_KEPT = b"user."
_FACTS = b"user.fusecache."
_LABELS = b"security."
_TOLD = ("state", "key", "etag", "cached_bytes")
_MAX_VALUE_BYTES = 64 << 10
"""Linux takes no more (xattr(7))."""
_MAX_ALL_BYTES = 128 << 10
"""Of one inode: they are part of its row, which is read with every lookup."""


class Xattrs:
    """The attributes of inodes. `facts` gives what `stat` says of one."""

    def __init__(
        self,
        namespace: Namespace,
        names: Names,
        nameless: Nameless,
        facts: Callable[[InodeNo], Awaitable[dict[str, Any]]],
        *,
        read_only: bool,
        wall_ns: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._ns = namespace
        self._inodes = namespace.tables.inodes
        self._names = names
        self._nameless = nameless
        self._facts = facts
        self._read_only = read_only
        self._wall_ns = wall_ns
        self._changed = changed
        self._has_warned = False

    async def get(self, ino: InodeNo, name: bytes) -> bytes:
        """Return a value.

        Raises:
            NoSuchAttribute: it has none of that name. Unsupported: no file has.
        """
        if name.startswith(_FACTS):
            return await self._fact(ino, name)
        if name.startswith(_LABELS):
            raise NoSuchAttribute(repr(name))
        _check_kept(name)
        value = unpacked((await self._headed(ino)).xattrs).get(name)
        if value is None:
            raise NoSuchAttribute(repr(name))
        return value

    async def list(self, ino: InodeNo) -> list[bytes]:
        """Return the names that were set: those that only tell something are not to be copied along."""
        return list(unpacked((await self._headed(ino)).xattrs))

    async def set(
        self, ino: InodeNo, name: bytes, value: bytes, *, create: bool = False, replace: bool = False
    ) -> None:
        """Set a value; the object's metadata follows, as far as a store takes it.

        Raises:
            AlreadyExists: there is one, and `create`. NoSuchAttribute: there is none, and `replace`.
            NotPermitted: it only tells something. Unsupported: other names than `user.*`. TooBig, NoSpace.
        """
        self._check_settable(name)
        if len(value) > _MAX_VALUE_BYTES:
            raise TooBig(f"{name!r}: {len(value)} bytes")
        inode = await self._headed(ino)
        present = unpacked(inode.xattrs)
        if create and name in present:
            raise AlreadyExists(repr(name))
        if replace and name not in present:
            raise NoSuchAttribute(repr(name))
        xattrs = packed({**present, name: value})
        if len(xattrs) > _MAX_ALL_BYTES:
            raise NoSpace(f"the attributes of inode {ino} would have {len(xattrs)} bytes, more than {_MAX_ALL_BYTES}")
        self._store(inode, xattrs)

    async def remove(self, ino: InodeNo, name: bytes) -> None:
        """Forget a value. Raises NoSuchAttribute, and as `set`."""
        self._check_settable(name)
        inode = await self._headed(ino)
        xattrs = unpacked(inode.xattrs)
        if name not in xattrs:
            raise NoSuchAttribute(repr(name))
        del xattrs[name]
        self._store(inode, packed(xattrs))

    # --- helpers ---

    async def _headed(self, ino: InodeNo) -> Inode:
        inode = self._nameless.get(ino) or self._inodes.get(ino)
        return inode if inode.headed else await self._names.head(inode)

    async def _fact(self, ino: InodeNo, name: bytes) -> bytes:
        key = name.removeprefix(_FACTS).decode("ascii", "replace")
        if key not in _TOLD or self._nameless.get(ino) is not None:
            raise NoSuchAttribute(repr(name))
        value = (await self._facts(ino))[key]
        if value is None:
            raise NoSuchAttribute(f"{name!r} is not known")
        return str(value).encode("utf-8", "surrogateescape")

    def _check_settable(self, name: bytes) -> None:
        if self._read_only:
            raise ReadOnly("mounted read-only")
        if name.startswith(_FACTS):
            raise NotPermitted(f"{name!r} only tells something")
        _check_kept(name)
        if name == _KEPT:
            raise InvalidArgument("an attribute without a name")

    def _store(self, inode: Inode, xattrs: bytes) -> None:
        now_ns = self._wall_ns()
        if self._nameless.get(inode.ino) is not None:
            self._nameless.keep(inode._replace(xattrs=xattrs, ctime_ns=now_ns))
            return
        if not inode.is_dir and not self._has_warned and not all_fit(unpacked(xattrs).items()):
            log.warning(
                "inode %d has more extended attributes than the metadata of an object can hold: some of them exist only"
                " here. There may be more such files: this is said once",
                inode.ino,
            )
            self._has_warned = True
        self._ns.tree.set_xattrs(inode.ino, xattrs, now_ns=now_ns)
        self._changed()


def _check_kept(name: bytes) -> None:
    if not name.startswith(_KEPT):
        raise Unsupported(f"{name!r}: only user.* attributes are kept")
