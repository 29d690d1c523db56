"""POSIX attributes as object metadata, under the names that s3fs, rclone and GeeseFS use.

`mode` (decimal st_mode), `uid`, `gid` and `mtime` (seconds with nanoseconds) as s3fs and rclone write
them; a symbolic link is an empty object with `--symlink-target` as GeeseFS makes it.

Extended attributes are one value, `fusecache-xattrs`, so that a copy which lays it over the source's replaces
them all: `name=value&name=value` without the `user.` of the names, ordered by them, every byte but letters, digits and
`_.-~/:,@+` written as `%XX`; `&` alone: there were some, and are none any more. A store takes some 2 KiB of metadata
an object: of a longer list the attributes that still fit go, in order, and the others stay where they were set.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

from fusecache.types import Attributes, ObjectInfo

SYMLINK = "--symlink-target"
XATTRS = "fusecache-xattrs"
UPLOAD_ID = "fusecache-upload"
"""Tells, after an ambiguous failure, whether an object is what we sent."""

_MAX_XATTRS = 1600
"""Of the 2,048 bytes that S3 takes of names and values, the rest is for ours."""
_MAX_XATTR_NAME = 255
_XATTR_PREFIX = b"user."
_SAFE = "/:,@+"


def metadata_of(attributes: Attributes, *, upload_id: str | None = None) -> dict[str, str]:
    """Return the metadata that says `attributes`."""
    seconds, nanoseconds = divmod(abs(attributes.mtime_ns), 1_000_000_000)
    sign = "-" if attributes.mtime_ns < 0 else ""
    metadata = {
        "mode": str(attributes.mode),
        "uid": str(attributes.uid),
        "gid": str(attributes.gid),
        "mtime": f"{sign}{seconds}.{nanoseconds:09d}",
    }
    if upload_id is not None:
        metadata[UPLOAD_ID] = upload_id
    if attributes.symlink_target is not None:
        metadata[SYMLINK] = quote_from_bytes(attributes.symlink_target)
    if attributes.xattrs is not None:
        metadata[XATTRS] = "&".join(_fitting(attributes.xattrs)) or "&"
    return metadata


def attributes_of(info: ObjectInfo, *, uid: int, gid: int, file_mode: int) -> Attributes:
    """Return what an object's metadata says, with the given defaults for what it does not say, or not well."""
    metadata = info.metadata or {}
    target = metadata.get(SYMLINK)
    mode = _number(metadata.get("mode"))
    permissions = stat.S_IMODE(mode) if mode is not None else file_mode
    kind = stat.S_IFREG if target is None else stat.S_IFLNK
    return Attributes(
        mode=kind | (permissions if target is None else 0o777),
        uid=_or(_number(metadata.get("uid")), uid),
        gid=_or(_number(metadata.get("gid")), gid),
        mtime_ns=_or(_nanoseconds(metadata.get("mtime")), info.mtime_ns),
        symlink_target=None if target is None else unquote_to_bytes(target),
        xattrs=_xattrs(metadata.get(XATTRS)),
    )


def all_fit(xattrs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an object can carry these attributes, all of them."""
    pairs = list(xattrs)
    return len(_fitting(pairs)) == len(pairs)


def _fitting(xattrs: Iterable[tuple[bytes, bytes]]) -> list[str]:
    room, taken = _MAX_XATTRS, []
    for name, value in xattrs:
        pair = f"{quote_from_bytes(name.removeprefix(_XATTR_PREFIX), _SAFE)}={quote_from_bytes(value, _SAFE)}"
        if len(pair) <= room:
            taken.append(pair)
            room -= len(pair) + 1
    return taken


def _xattrs(text: str | None) -> tuple[tuple[bytes, bytes], ...] | None:
    if text is None:
        return None
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    told = {_XATTR_PREFIX + unquote_to_bytes(name): unquote_to_bytes(value) for name, _, value in pairs if name}
    return tuple(sorted((name, value) for name, value in told.items() if len(name) <= _MAX_XATTR_NAME))


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number < 1 << 32 else None


def _nanoseconds(text: str | None) -> int | None:
    """Parse `sec` or `sec.fraction`, as exact as it is written: a float would lose nanoseconds."""
    if text is None:
        return None
    seconds, _, fraction = text.strip().partition(".")
    negative = seconds.startswith("-")
    digits = seconds.removeprefix("-")
    if not digits.isdigit() or len(digits) > 11 or (fraction and not fraction.isdigit()):
        return None
    value = int(digits) * 1_000_000_000 + int((fraction + "0" * 9)[:9])
    return -value if negative else value
