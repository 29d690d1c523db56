"""Bytes on their way to a store: read as they go out, never held whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusecache.backends.base import CHUNK_BYTES
from fusecache.errors import PermanentBackendError


class SourceTruncated(PermanentBackendError):
    """The local file ended before the promised length: somebody truncated it while it was sent."""


class BytesSource:
    """A body that is in memory anyway: a marker, a symlink, a test."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def length(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._data), CHUNK_BYTES):
            yield self._data[start : start + CHUNK_BYTES]


class FileRange:
    """`length` bytes of a local file from `offset`; holes read as zeros.

    Given a path, each iteration opens and closes the file. A descriptor stays the caller's, must
    outlive the request, and keeps its position: reads are by pread, so several ranges may share it.
    """

    def __init__(self, file: Path | int, offset: int, length: int) -> None:
        self._file = file
        self._offset = offset
        self._length = length

    @property
    def length(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        """Yield the range in chunks.

        Raises:
            SourceTruncated: the file is shorter than promised, or gone.
        """
        with self._descriptor() as fd:
            position, end = self._offset, self._offset + self._length
            while position < end:
                chunk = os.pread(fd, min(CHUNK_BYTES, end - position), position)
                if not chunk:
                    raise SourceTruncated(f"{self._file}: ends at byte {position}, {end} were promised")
                position += len(chunk)
                yield chunk

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        if isinstance(self._file, int):
            yield self._file
            return
        try:
            fd = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as exc:
            raise SourceTruncated(f"{self._file}: gone before it was sent") from exc
        try:
            yield fd
        finally:
            os.close(fd)
