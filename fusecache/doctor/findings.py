"""What an examination found: what, where, how bad, and what would put it right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from fusecache.types import InodeNo, ObjectKey

_SHOWN = 1000
"""Findings of a kind that are kept: a reply has a bound, and nobody reads more."""


class Severity(StrEnum):
    """How bad it is. Only notes leave a tree that is well."""

    DAMAGE = "damage"
    """Something acknowledged is lost, or cannot be reached."""
    PROBLEM = "problem"
    """Nothing is lost; it needs `--repair`, or a person."""
    NOTE = "note"
    """Ends by itself, or is only to be known."""


class _Sort(NamedTuple):
    name: str
    severity: Severity
    title: str
    advice: str


class Kind(Enum):
    """What can be found, in the order in which it is told."""

    DATABASE = _Sort(
        "database-damaged",
        Severity.DAMAGE,
        "the namespace database is damaged",
        "nothing is repaired; copy the state directory aside before you do anything",
    )
    VERSION = _Sort(
        "other-version",
        Severity.PROBLEM,
        "the namespace was made by another version of fusecache",
        "nothing else was examined; mount it once with this version, or use the one that made it",
    )
    ROWS = _Sort(
        "rows-broken",
        Severity.DAMAGE,
        "rows of the namespace contradict each other",
        "nothing is repaired; copy the state directory aside, and report it",
    )
    BYTES = _Sort(
        "bytes-missing",
        Severity.DAMAGE,
        "bytes that no store has yet are missing from the cache directory",
        "what was there is gone from this disk: was the cache directory cleaned, or restored?",
    )
    ROT = _Sort(
        "bytes-changed",
        Severity.DAMAGE,
        "bytes that no store has yet are not those that were written",
        "compare the file with where it came from, and check the disk; it is uploaded as it is",
    )
    BASE = _Sort(
        "base-gone",
        Severity.DAMAGE,
        "objects that files here still need were replaced or deleted by somebody else",
        "bring the version back to its key if the bucket keeps versions; what is local is kept",
    )
    BLOCK = _Sort(
        "block-damaged",
        Severity.PROBLEM,
        "cached blocks are not what was fetched",
        "`--repair` fetches them again; what programs have read of them was wrong",
    )
    FILE = _Sort(
        "file-unknown",
        Severity.PROBLEM,
        "files in the cache directory that belong to no file of the tree",
        "`--repair` moves them to `aside/` in the cache directory; look at them before you delete them",
    )
    STUCK = _Sort("stuck", Severity.PROBLEM, "changes that the store refuses", "they are tried again for ever")
    SILENT = _Sort(
        "store-unasked", Severity.PROBLEM, "the store could not be asked", "the bucket was not compared; try again"
    )
    UNNAMEABLE = _Sort(
        "key-unnameable",
        Severity.PROBLEM,
        "keys that no path can name: they are in the bucket, and not in the tree",
        "rename them with an S3 client",
    )
    HIDDEN = _Sort(
        "key-hidden",
        Severity.PROBLEM,
        "keys that have others below them: a path is either a file or a directory",
        "rename one of them with an S3 client",
    )
    UPLOAD = _Sort(
        "upload-left",
        Severity.PROBLEM,
        "uploads of ours that nobody continues: their parts take space in the store",
        "`--repair` aborts them; what they were sending is sent anew",
    )
    TEMPORARY = _Sort(
        "temporary-left",
        Severity.PROBLEM,
        "keys of ours below .fusecache-tmp/ that no row knows",
        "they may be the only copy of something: look at them before you delete them",
    )
    QUOTED = _Sort(
        "key-quoted", Severity.NOTE, "keys that are shown under another name", "names with a ‰ are read, not made"
    )
    CHANGED = _Sort(
        "object-changed",
        Severity.NOTE,
        "objects that somebody else replaced or deleted",
        "the next look at their directory shows what the store has",
    )
    STALE = _Sort(
        "cache-stale", Severity.NOTE, "cached files that are not believed", "they are fetched again when they are read"
    )
    UNLISTED = _Sort(
        "uploads-unlisted",
        Severity.NOTE,
        "the store does not tell of unfinished uploads",
        "a lifecycle rule of the bucket may abort them, where it has such rules",
    )
    ASIDE = _Sort("set-aside", Severity.NOTE, "files that were put aside", "look at them, and delete what nobody needs")
    CONFLICT = _Sort(
        "conflict-copy",
        Severity.NOTE,
        "versions of others that were kept beside ours",
        "compare them with the file of the name, and delete one",
    )
    STRANGER = _Sort(
        "upload-of-others",
        Severity.NOTE,
        "unfinished uploads of keys that no row here knows",
        "whoever began them has to abort them, or a lifecycle rule of the bucket",
    )

    @property
    def severity(self) -> Severity:
        severity: Severity = self.value.severity
        return severity


@dataclass(frozen=True, slots=True)
class SetAside:
    """Move a content file out of the store."""

    ino: InodeNo
    name: str


@dataclass(frozen=True, slots=True)
class Refetch:
    """Replace a block of a clean content by what the store has."""

    ino: InodeNo
    block_no: int
    block_size: int
    digest: int
    """What the block must hash to."""


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget the parts of an upload."""

    key: ObjectKey
    upload_id: str


Remedy = SetAside | Refetch | Abort


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    where: str
    """A path of the tree with a leading slash, else a key or a file."""
    detail: str = ""
    remedy: Remedy | None = None
    """What puts it right, and cannot harm; None: a person must look."""


@dataclass(slots=True)
class Report:
    """Collects findings, and says in the end what they come to."""

    looked_at: Counter[str] = field(default_factory=Counter)
    """Rows, files, bytes and objects so far."""
    _counts: Counter[Kind] = field(default_factory=Counter)
    _repaired: Counter[Kind] = field(default_factory=Counter)
    _shown: dict[Kind, list[dict[str, object]]] = field(default_factory=dict)

    def add(self, finding: Finding, *, repaired: bool = False, failure: str = "") -> None:
        """Take in a finding and what came of its repair."""
        kind = finding.kind
        self._counts[kind] += 1
        self._repaired[kind] += repaired
        shown = self._shown.setdefault(kind, [])
        if len(shown) < _SHOWN:
            told = {"where": finding.where, "detail": finding.detail, "repairable": finding.remedy is not None}
            shown.append(told | {"repaired": repaired} | ({"failure": failure} if failure else {}))

    @property
    def believes_rows(self) -> bool:
        """Whether the namespace is sound enough to act on what it says."""
        return not any(self._counts[kind] for kind in (Kind.DATABASE, Kind.VERSION, Kind.ROWS))

    @property
    def reads_rows(self) -> bool:
        """Whether what its tables say is known."""
        return not self._counts[Kind.VERSION]

    def as_dict(self) -> dict[str, object]:
        """Return what the command prints with `--json`, less how long it took."""
        found = [kind for kind in Kind if self._counts[kind]]
        bad = [kind for kind in found if kind.severity is not Severity.NOTE]
        return {
            "healthy": all(self._repaired[kind] == self._counts[kind] for kind in bad),
            "findings": [self._told(kind) for kind in found],
            "looked_at": dict(self.looked_at),
        }

    def _told(self, kind: Kind) -> dict[str, object]:
        name, severity, title, advice = kind.value
        told = {"kind": name, "severity": str(severity), "title": title, "advice": advice}
        return told | {
            "count": self._counts[kind],
            "repaired": self._repaired[kind],
            "repairable": any(each["repairable"] for each in self._shown[kind]),
            "examples": self._shown[kind],
        }
