"""POSIX access control lists (acl(5)), as the kernel keeps them in two extended attributes: what they do to modes.

The kernel judges by them; what becomes of them at chmod(2), and what is inherited, it leaves to the file system
(FUSE_POSIX_ACL). Layout and rules are those of include/uapi/linux/posix_acl_xattr.h and fs/posix_acl.c.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from fusecache.errors import InvalidArgument

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"
"""Of a directory: what is made in it inherits that."""
NAMES = (ACCESS, DEFAULT)

_HEADER = Struct("<I")
_VERSION = 2
_ENTRY = Struct("<HHI")

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_SHIFTS = {USER_OBJ: 6, MASK: 3, OTHER: 0}
"""Where a mode has the permissions of an entry; the owning group's are there if there is no mask."""


class Permit(NamedTuple):
    """An entry: who may do what. `ident` counts for named users and groups."""

    tag: int
    perm: int
    ident: int


Permits = tuple[Permit, ...]


def permits_of(value: bytes) -> Permits:
    """Read the value of an attribute. Raises InvalidArgument: it is none."""
    body = value[_HEADER.size :]
    if len(value) < _HEADER.size or _HEADER.unpack_from(value)[0] != _VERSION or len(body) % _ENTRY.size:
        raise InvalidArgument("no access control list")
    permits = tuple(Permit._make(each) for each in _ENTRY.iter_unpack(body))
    tags = [permit.tag for permit in permits]
    if any(tags.count(tag) != 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) or tags.count(MASK) > 1:
        raise InvalidArgument("an access control list that lacks an entry")
    return permits


def packed(permits: Permits) -> bytes:
    """Return the value of an attribute."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*permit) for permit in permits)


def is_mode_only(permits: Permits) -> bool:
    """Whether a mode says all of it."""
    return all(permit.tag in (USER_OBJ, GROUP_OBJ, OTHER) for permit in permits)


def shown_in(mode: int, permits: Permits) -> int:
    """Return `mode` with the permissions that a list gives its three classes."""
    for permit, shift in _classes(permits):
        mode = mode & ~(7 << shift) | permit.perm << shift
    return mode


def with_mode(permits: Permits, mode: int) -> Permits:
    """Return the list after a chmod(2) to `mode`: the group's bits are those of the mask, if there is one."""
    shifts = dict(_classes(permits))
    return tuple(p._replace(perm=mode >> shifts[p] & 7) if p in shifts else p for p in permits)


def inherited(default: Permits, mode: int) -> tuple[int, Permits]:
    """Return mode and list of what is made with `mode` in a directory with this default: no more than both allow.

    The umask has no part in it.
    """
    shifts = dict(_classes(default))
    permits = tuple(p._replace(perm=p.perm & mode >> shifts[p]) if p in shifts else p for p in default)
    return shown_in(mode, permits), permits


def _classes(permits: Permits) -> Iterable[tuple[Permit, int]]:
    """The entries of which a mode tells, and where: owner, the group class, and others."""
    has_mask = any(permit.tag == MASK for permit in permits)
    for permit in permits:
        if permit.tag in _SHIFTS:
            yield permit, _SHIFTS[permit.tag]
        elif permit.tag == GROUP_OBJ and not has_mask:
            yield permit, 3
