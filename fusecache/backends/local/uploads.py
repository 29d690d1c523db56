"""Uploads in parts to a local store: a directory of parts aside, put together at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fusecache.backends.base import Source
from fusecache.backends.local.staging import Staging
from fusecache.backends.local.tree import etag_of
from fusecache.backends.local.writer import LocalWriter, fill_from_files, fill_from_source
from fusecache.errors import NoSuchObject, StoreRefused
from fusecache.types import ETag, ObjectKey, OpenUpload

_METADATA = "metadata.json"
_ID = re.compile(r"upload-[0-9a-f]{32}")


class LocalUploads:
    """Parts are files named by their numbers; they outlive the process, until completed or aborted."""

    def __init__(self, writer: LocalWriter, staging: Staging) -> None:
        self._writer = writer
        self._staging = staging

    def start(self, metadata: Mapping[str, str]) -> str:
        upload_id = f"upload-{uuid.uuid4().hex}"
        directory = self._staging.make() / upload_id
        directory.mkdir()
        (directory / _METADATA).write_text(json.dumps(dict(metadata)))
        return upload_id

    def put_part(self, upload_id: str, number: int, source: Source) -> ETag:
        part = self._directory(upload_id) / f"{number:05}"
        temporary = part.with_suffix(f".{uuid.uuid4().hex}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fill_from_source(source)(fd)
            etag = etag_of(os.fstat(fd))
        finally:
            os.close(fd)
        temporary.rename(part)
        return etag

    def complete(
        self, key: ObjectKey, upload_id: str, etags: Sequence[ETag], if_match: ETag | None, if_none_match: bool
    ) -> ETag:
        directory = self._directory(upload_id)
        parts = [directory / f"{number:05}" for number in range(1, len(etags) + 1)]
        for part, etag in zip(parts, etags, strict=True):
            if not part.exists() or etag_of(part.stat()) != etag:
                raise StoreRefused(f"{key}: part {part.name} is missing or another than the one named")
        metadata: dict[str, str] = json.loads((directory / _METADATA).read_text())
        etag = self._writer.put(key, fill_from_files(parts), metadata, if_match, if_none_match)
        shutil.rmtree(directory)
        return etag

    def list(self) -> Sequence[OpenUpload]:
        """Return what is aside: uploads in parts, and puts that never came to their end."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._staging.path) as entries:
            for entry in entries:
                if _ID.fullmatch(entry.name) or self._staging.is_put(entry.name):
                    with suppress(FileNotFoundError):  # completed just now
                        found.append(OpenUpload(None, entry.name, entry.stat(follow_symlinks=False).st_mtime_ns))
        return found

    def abort(self, upload_id: str) -> None:
        if self._staging.is_put(upload_id):
            self._staging.discard(upload_id)
            return
        try:
            shutil.rmtree(self._directory(upload_id))
        except (NoSuchObject, FileNotFoundError):
            return

    def _directory(self, upload_id: str) -> Path:
        directory = self._staging.make() / upload_id
        if not _ID.fullmatch(upload_id) or not directory.is_dir():
            raise NoSuchObject(f"upload {upload_id} is gone")
        return directory
