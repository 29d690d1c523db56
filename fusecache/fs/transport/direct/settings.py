"""What a SETXATTR sets."""

from __future__ import annotations

from typing import NamedTuple

from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.handshake import Agreement


class Setting(NamedTuple):
    """An extended attribute as it is to be, and on which conditions."""

    name: bytes
    value: bytes
    create: bool
    replace: bool
    drops_set_gid: bool


def setting_of(body: memoryview, agreement: Agreement) -> Setting | None:
    """Read a SETXATTR; None: it is malformed."""
    is_long = bool(agreement.features & abi.FUSE_SETXATTR_EXT)
    layout = abi.fuse_setxattr_in_ext if is_long else abi.fuse_setxattr_in
    if len(body) < layout.size:
        return None
    size, flags, *more = layout.unpack_from(body)
    name, _, value = bytes(body[layout.size :]).partition(b"\0")
    if not name or len(value) != size:
        return None
    drops_set_gid = bool(more and more[0] & abi.FUSE_SETXATTR_ACL_KILL_SGID)
    return Setting(name, value, bool(flags & abi.XATTR_CREATE), bool(flags & abi.XATTR_REPLACE), drops_set_gid)
