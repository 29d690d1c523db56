"""Extended attributes: `user.*` are the application's, `user.fusecache.*` tell what `stat` tells, and that is all.

But for access control lists, where they are kept: they are attributes, too, and part of the mode.
"""

from __future__ import annotations

import logging
import stat
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
from fusecache.fs import acl
from fusecache.fs.attrs import Changes, inherited
from fusecache.fs.nameless import Nameless
from fusecache.fs.names import Names
from fusecache.namespace.namespace import Namespace
from fusecache.namespace.records import Inode
from fusecache.namespace.tree import Owner
from fusecache.namespace.xattrs import packed, pairs_of, unpacked
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
        self._keeps_acls = False

    def keep_acls(self) -> None:
        """From now on there are access control lists, by which the kernel judges."""
        self._keeps_acls = True

    async def get(self, ino: InodeNo, name: bytes) -> bytes:
        """Return a value.

        Raises:
            NoSuchAttribute: it has none of that name. Unsupported: no file has.
        """
        if name.startswith(_FACTS):
            return await self._fact(ino, name)
        if name.startswith(_LABELS):
            raise NoSuchAttribute(repr(name))
        self._check_kept(name)
        value = unpacked((await self._headed(ino)).xattrs).get(name)
        if value is None:
            raise NoSuchAttribute(repr(name))
        return value

    async def list(self, ino: InodeNo) -> list[bytes]:
        """Return the names that were set: those that only tell something are not to be copied along."""
        names = unpacked((await self._headed(ino)).xattrs)
        return [name for name in names if self._keeps_acls or name not in acl.NAMES]

    async def set(
        self,
        ino: InodeNo,
        name: bytes,
        value: bytes,
        *,
        create: bool = False,
        replace: bool = False,
        drops_set_gid: bool = False,
    ) -> None:
        """Set a value; the object's metadata follows, as far as a store takes it.

        A list of who may do what changes the mode, too; `drops_set_gid`: who sets it may not keep that bit.

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
        present[name] = value
        if name in acl.NAMES:
            permits = acl.permits_of(value)
            if name == acl.ACCESS:
                mode = acl.shown_in(inode.mode, permits)
                inode = inode._replace(mode=mode & ~stat.S_ISGID if drops_set_gid else mode)
                if acl.is_mode_only(permits):
                    del present[name]
        xattrs = packed(present)
        if len(xattrs) > _MAX_ALL_BYTES:
            raise NoSpace(f"the attributes of inode {ino} would have {len(xattrs)} bytes, more than {_MAX_ALL_BYTES}")
        self._store(inode, xattrs)

    async def remove(self, ino: InodeNo, name: bytes) -> None:
        """Forget a value. Raises NoSuchAttribute, and as `set`."""
        self._check_settable(name)
        inode = await self._headed(ino)
        xattrs = unpacked(inode.xattrs)
        if name not in xattrs:
            if name in acl.NAMES:
                return  # the mode is all there is
            raise NoSuchAttribute(repr(name))
        del xattrs[name]
        self._store(inode, packed(xattrs))

    def heir(self, owner: Owner, parent: Inode) -> Owner:
        """Return mode, owner and attributes of what is made in a directory."""
        owner = inherited(owner, parent)
        default = unpacked(parent.xattrs).get(acl.DEFAULT) if self._keeps_acls else None
        if default is None or stat.S_ISLNK(owner.mode):
            return owner._replace(mode=owner.mode & ~owner.umask)
        mode, permits = acl.inherited(acl.permits_of(default), owner.mode)
        lists = {} if acl.is_mode_only(permits) else {acl.ACCESS: acl.packed(permits)}
        if stat.S_ISDIR(owner.mode):
            lists[acl.DEFAULT] = default
        return owner._replace(mode=mode, xattrs=packed(lists) or None)

    def applied(self, changes: Changes, inode: Inode) -> Inode:
        """Return `inode` with these attributes, and its list with the mode of them."""
        changed = changes.applied_to(inode)
        xattrs = unpacked(inode.xattrs) if self._keeps_acls and changed.mode != inode.mode else {}
        if acl.ACCESS not in xattrs:
            return changed
        xattrs[acl.ACCESS] = acl.packed(acl.with_mode(acl.permits_of(xattrs[acl.ACCESS]), changed.mode))
        return changed._replace(xattrs=packed(xattrs))

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
        self._check_kept(name)
        if name == _KEPT:
            raise InvalidArgument("an attribute without a name")

    def _store(self, inode: Inode, xattrs: bytes) -> None:
        now_ns, inode = self._wall_ns(), inode._replace(xattrs=xattrs)
        if self._nameless.get(inode.ino) is not None:
            self._nameless.keep(inode._replace(ctime_ns=now_ns))
            return
        if not inode.is_dir and not self._has_warned and not all_fit(pairs_of(xattrs) or ()):
            log.warning(
                "inode %d has more extended attributes than the metadata of an object can hold: some of them exist only"
                " here. There may be more such files: this is said once",
                inode.ino,
            )
            self._has_warned = True
        self._ns.tree.set_xattrs(inode, now_ns=now_ns)
        self._changed()

    def _check_kept(self, name: bytes) -> None:
        if not name.startswith(_KEPT) and not (self._keeps_acls and name in acl.NAMES):
            raise Unsupported(f"{name!r}: only user.* attributes are kept")
