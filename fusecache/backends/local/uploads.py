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
from fusecache.backends.local.tree import LocalTree, etag_of
from fusecache.backends.local.writer import Fill, LocalWriter, copy_range, fill_from_files, fill_from_source
from fusecache.errors import NoSuchObject, PreconditionFailed, StoreRefused
from fusecache.types import ETag, Extent, ObjectKey, OpenUpload

_ABOUT = "about.json"
"""The key and the metadata of the object to be."""
_ID = re.compile(r"upload-[0-9a-f]{32}")


class LocalUploads:
    """Parts are files named by their numbers; they outlive the process, until completed or aborted."""

    def __init__(self, tree: LocalTree, writer: LocalWriter, staging: Staging) -> None:
        self._tree = tree
        self._writer = writer
        self._staging = staging

    def start(self, key: ObjectKey, metadata: Mapping[str, str]) -> str:
        upload_id = f"upload-{uuid.uuid4().hex}"
        with self._staging.put() as temporary:
            temporary.mkdir()
            (temporary / _ABOUT).write_text(json.dumps({"key": key, "metadata": dict(metadata)}))
            temporary.rename(self._staging.path / upload_id)
        return upload_id

    def put_part(self, upload_id: str, number: int, source: Source) -> ETag:
        return self._write(upload_id, number, fill_from_source(source))

    def copy_part(self, upload_id: str, number: int, source: ObjectKey, extent: Extent, if_match: ETag) -> ETag:
        self._directory(upload_id)
        try:
            file = self._tree.path(source).open("rb")
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise PreconditionFailed(f"{source}: gone, {if_match} was to be copied") from exc
        with file:
            found = os.fstat(file.fileno())
            if etag_of(found) != if_match:
                raise PreconditionFailed(f"{source}: holds {etag_of(found)}, {if_match} was to be copied")
            if extent.end > found.st_size:
                raise StoreRefused(f"{source}: has {found.st_size} bytes, {extent.end} were to be copied")
            return self._write(upload_id, number, lambda fd: copy_range(file.fileno(), extent, fd))

    def _write(self, upload_id: str, number: int, fill: Fill) -> ETag:
        part = self._directory(upload_id) / f"{number:05}"
        temporary = part.with_suffix(f".{uuid.uuid4().hex}")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fill(fd)
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
        about = json.loads((directory / _ABOUT).read_text())
        etag = self._writer.put(key, fill_from_files(parts), about["metadata"], if_match, if_none_match)
        shutil.rmtree(directory)
        return etag

    def list(self, only: ObjectKey | None) -> Sequence[OpenUpload]:
        """Return what is aside: uploads in parts, to one key or all, and puts that never came to their end."""
        found = []
        with suppress(FileNotFoundError), os.scandir(self._staging.path) as entries:
            for entry in entries:
                is_upload = _ID.fullmatch(entry.name) is not None
                if not is_upload and not self._staging.is_put(entry.name):
                    continue
                with suppress(FileNotFoundError):  # completed just now
                    started_ns = entry.stat(follow_symlinks=False).st_mtime_ns
                    key = _key_of(Path(entry.path)) if is_upload else None
                    found.append(OpenUpload(key, entry.name, started_ns))
        return [upload for upload in found if only in (None, upload.key)]

    def parts(self, upload_id: str) -> Sequence[int]:
        names = (path.name for path in self._directory(upload_id).iterdir())
        return sorted(int(name) for name in names if name.isdecimal())

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


def _key_of(directory: Path) -> ObjectKey | None:
    """What an upload is to become; None if an older release began it, which did not tell."""
    try:
        return ObjectKey(json.loads((directory / _ABOUT).read_text())["key"])
    except FileNotFoundError:
        return None
