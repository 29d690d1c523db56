"""Extended attributes: an object's metadata, and what a directory is. Each change is one system call."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path

MARKER = "user.fusecache.marker"
"""On a directory that was put: it is an object, whatever is in it. The value is its metadata, in JSON."""
IMPLIED = "user.fusecache.implied"
"""On a directory without `MARKER`: it is no object, and is there only for what is below it."""
_USER = "user."


class Mark(Enum):
    """What a directory's attributes say of it."""

    MARKER = auto()
    IMPLIED = auto()
    NONE = auto()
    """Somebody else made it."""
    UNKNOWN = auto()
    """The file system has no attributes."""


def mark_of(directory: Path) -> Mark:
    names = _names(directory)
    if names is None:
        return Mark.UNKNOWN
    if MARKER in names:
        return Mark.MARKER
    return Mark.IMPLIED if IMPLIED in names else Mark.NONE


def mark(directory: Path, metadata: Mapping[str, str]) -> None:
    """Make a directory an object with these metadata, and no others."""
    _set(directory, MARKER, json.dumps({name.lower(): value for name, value in metadata.items()}))


def unmark(directory: Path) -> None:
    """Make a directory no object any more."""
    if mark_of(directory) is Mark.MARKER:
        os.removexattr(directory, MARKER)


def imply(directory: Path) -> None:
    """Have a directory, as long as it is not `MARKER`, be there only for what is below it."""
    if IMPLIED not in (_names(directory) or []):
        _set(directory, IMPLIED, "1")


def read_metadata(path: Path) -> dict[str, str]:
    """Return an object's metadata: those that a marker was put with, else the user attributes that are text."""
    names = _names(path) or []
    if MARKER in names:
        told = json.loads(os.getxattr(path, MARKER, follow_symlinks=False))
        if isinstance(told, dict):  # else by a version that wrote "1", and attributes beside it
            return told
    found: dict[str, str] = {}
    for name in names:
        if name.startswith(_USER) and name not in (MARKER, IMPLIED):
            value = os.getxattr(path, name, follow_symlinks=False)
            if value.isascii():
                found[name.removeprefix(_USER)] = value.decode()
    return found


def write_metadata(file: int, metadata: Mapping[str, str]) -> None:
    """Set user attributes of a file; without a word if the file system knows none."""
    for name, value in metadata.items():
        _set(file, _USER + name.lower(), value)


def _set(file: int | Path, name: str, value: str) -> None:
    try:
        os.setxattr(file, name, value.encode())
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise


def _names(path: Path) -> list[str] | None:
    """Return the names of the attributes, None where the file system knows none."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError as exc:
        if exc.errno != errno.ENOTSUP:
            raise
        return None
