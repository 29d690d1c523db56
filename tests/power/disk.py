"""What a disk may hold after the power went: everything that was synced, and any part of the rest.

The rules: of each file, unsynced writes and truncations are kept, dropped or, at 4 KiB, torn, each for itself.
Of each directory, unsynced changes of names are kept up to some point, in order. fsync of a file says nothing
of its name, as POSIX has it.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgpack

PAGE = 4096


class Record(NamedTuple):
    """One change, and where the log ends after it."""

    end: int
    kind: str
    arguments: tuple[object, ...]


def read_log(path: Path) -> list[Record]:
    data = path.read_bytes()
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 31)
    unpacker.feed(data)
    return [Record(unpacker.tell(), kind, tuple(rest)) for kind, *rest in unpacker]


Fate = Callable[[random.Random], float]
"""Gives the chance with which one unsynced page survives; asked once a file."""
FATES: dict[str, Fate] = {
    "kept": lambda rng: 1.0,
    "dropped": lambda rng: 0.0,
    "mixed": lambda rng: rng.choice((0.0, 1.0, 0.5)),
    "torn": lambda rng: rng.random(),
}


@dataclass
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data), or (size, None) for a truncation."""


@dataclass
class _Directory:
    synced: dict[bytes, int | None] = field(default_factory=dict)
    """None: a directory."""
    pending: list[list[tuple[bytes, int | None, bool]]] = field(default_factory=list)
    """Changes that happen together or not at all: (name, what, whether it is there now)."""


class Disk:
    """Follows a log record by record, and gives the disks that a power loss may leave at any of them."""

    def __init__(self) -> None:
        self._files: dict[int, _File] = {}
        self._directories: dict[bytes, _Directory] = {b"": _Directory()}
        self._numbers: dict[bytes, int | None] = {}

    def apply(self, record: Record) -> None:
        getattr(self, f"_{record.kind}")(*record.arguments)

    def leave(self, root: Path, rng: random.Random, fate: str) -> None:
        """Make below `root` what the disk holds after a power loss now."""
        chance = FATES[fate]
        for path, directory in sorted(self._directories.items()):
            target = root / os.fsdecode(path)
            if not target.is_dir():
                if path:
                    continue  # its own name, or that of one above it, is lost
                target.mkdir(parents=True)
            for name, number in self._surviving(directory, rng, chance(rng)).items():
                if number is None:
                    (target / os.fsdecode(name)).mkdir()
                else:
                    (target / os.fsdecode(name)).write_bytes(self._bytes(self._files[number], rng, chance(rng)))

    def _surviving(self, directory: _Directory, rng: random.Random, chance: float) -> dict[bytes, int | None]:
        names = dict(directory.synced)
        count = len(directory.pending)
        kept = count if chance == 1.0 else 0 if chance == 0.0 else rng.randint(0, count)
        for name, what, is_there in itertools.chain.from_iterable(directory.pending[:kept]):
            if is_there:
                names[name] = what
            else:
                names.pop(name, None)
        return names

    def _bytes(self, file: _File, rng: random.Random, chance: float) -> bytes:
        data = bytearray(file.synced)
        for offset, written in file.pending:
            if written is None:
                if rng.random() < chance:
                    _cut(data, offset)
                continue
            start = 0
            while start < len(written):
                stop = min(len(written), (offset + start) // PAGE * PAGE + PAGE - offset)
                if rng.random() < chance:
                    _put(data, offset + start, written[start:stop])
                start = stop
        return bytes(data)

    # --- records ---

    def _create(self, path: bytes, number: int) -> None:
        self._files[number] = _File()
        self._name(path, number)

    def _mkdir(self, path: bytes) -> None:
        self._directories[path] = _Directory()
        self._name(path, None)

    def _name(self, path: bytes, number: int | None) -> None:
        self._numbers[path] = number
        parent, name = os.path.split(path)
        self._directories[parent].pending.append([(name, number, True)])

    def _unlink(self, path: bytes) -> None:
        parent, name = os.path.split(path)
        self._directories[parent].pending.append([(name, self._numbers.pop(path), False)])

    def _rename(self, old: bytes, new: bytes) -> None:
        (parent, old_name), (new_parent, new_name) = os.path.split(old), os.path.split(new)
        assert parent == new_parent, "moves between directories are not modelled"
        number = self._numbers[new] = self._numbers.pop(old)
        self._directories[parent].pending.append([(old_name, number, False), (new_name, number, True)])

    def _write(self, number: int, offset: int, data: bytes) -> None:
        self._files[number].pending.append((offset, data))

    def _truncate(self, number: int, size: int) -> None:
        self._files[number].pending.append((size, None))

    def _fsync(self, number: int) -> None:
        file = self._files[number]
        for offset, data in file.pending:
            if data is None:
                _cut(file.synced, offset)
            else:
                _put(file.synced, offset, data)
        file.pending.clear()

    def _fsyncdir(self, path: bytes) -> None:
        directory = self._directories[path]
        directory.synced = self._surviving(directory, random.Random(0), 1.0)
        directory.pending.clear()


def _put(data: bytearray, offset: int, written: bytes) -> None:
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written


def _cut(data: bytearray, size: int) -> None:
    if size < len(data):
        del data[size:]
    else:
        data.extend(bytes(size - len(data)))
