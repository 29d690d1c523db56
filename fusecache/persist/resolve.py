"""Whose object a key below a directory's prefix is, by the rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fusecache.errors import NameTooLong
from fusecache.namespace.keys import name_of
from fusecache.namespace.records import Dentry, Directory, Place
from fusecache.namespace.tables import Tables
from fusecache.types import InodeNo


class Owner(Enum):
    """What a key stands for."""

    UNKNOWN = auto()
    """No row says anything: what the store shows is what is there."""
    FILE = auto()
    HIDDEN = auto()
    """A whiteout: the name was removed."""
    MARKER = auto()
    """The key `dir/` of a known directory."""
    OTHER = auto()
    """Something else is there: the key is not ours, or has a task of its own."""


@dataclass(frozen=True, slots=True)
class Resolved:
    owner: Owner
    place: Place | None = None
    dentry: Dentry | None = None
    directory: Directory | None = None


def resolve(tables: Tables, root: InodeNo, prefix: str, key: str) -> Resolved:
    """Find what `key`, which begins with `prefix`, is below the directory `root`, which reads `prefix`."""
    *above, last = key[len(prefix) :].split("/")
    directory = tables.directories.get(root)
    for component in above:
        prefix += f"{component}/"
        row = _row(tables, directory, component)
        if row is None:
            return _unknown(directory)
        if row.ino is None:
            return _hidden(directory, row)
        below = tables.directories.find(row.ino)
        if below is None or below.prefix not in (prefix, None):
            return Resolved(Owner.OTHER, row.place)
        directory = below
    if not last:
        return Resolved(Owner.MARKER, directory=directory)
    row = _row(tables, directory, last)
    if row is None:
        return _unknown(directory)
    if row.ino is None:
        return _hidden(directory, row)
    if tables.directories.find(row.ino) is not None:
        return Resolved(Owner.OTHER, row.place)
    return Resolved(Owner.FILE, row.place, row)


def _row(tables: Tables, directory: Directory, component: str) -> Dentry | None:
    try:
        return tables.dentries.get(directory.ino, name_of(component))
    except NameTooLong:
        return None


def _unknown(directory: Directory) -> Resolved:
    # All that is in an opaque directory has a row.
    return Resolved(Owner.UNKNOWN if directory.prefix is not None else Owner.OTHER)


def _hidden(directory: Directory, row: Dentry) -> Resolved:
    # Nothing was left to hide under a settled whiteout: what is there came later, and not from us.
    return _unknown(directory) if row.settled else Resolved(Owner.HIDDEN, row.place)
