"""Whoever reads the bucket while it changes, and believes a commit marker there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from tests.faults.jobs import MARKER
from tests.mount.harness import Store
from tests.servers import S3Server

_PAUSE_S = 0.05


@dataclass
class Watcher:
    """Compares what a marker says its data is with what is there, again and again.

    No listing is of one moment. But what a marker is of stays as it is while the marker is there: so it is read before
    the listing and after, and if it is the same, what was listed has to be its own.
    """

    client: Any
    bucket: str
    prefix: str
    believed: set[tuple[str, str]] = field(default_factory=set)
    """Tables and the etags of their markers, wherever a marker stood still for long enough."""
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Look once at every table that has a marker now."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        for key in keys:
            if key.endswith(f"/{MARKER}"):
                self._look_at(key.removesuffix(MARKER))

    def _look_at(self, table: str) -> None:
        before = self._marker(table)
        if before is None:
            return
        etag, said = before
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=table)
        listed = {each["Key"]: each["ETag"].strip('"') for page in pages for each in page.get("Contents", [])}
        if self._marker(table) != before:
            return
        found = {key.removeprefix(table): etag for key, etag in listed.items() if not key.endswith(MARKER)}
        self.believed.add((table.removeprefix(self.prefix), etag))
        wrong = {name for name in found.keys() | said.keys() if found.get(name) != said.get(name)}
        if wrong:
            told = {name: (said.get(name), found.get(name)) for name in sorted(wrong)[:5]}
            self.wrong.append(f"{table}: marker {etag} over {len(wrong)} others (said, found): {told}")

    def _marker(self, table: str) -> tuple[str, dict[str, str]] | None:
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=table + MARKER)
        except ClientError as exc:
            if exc.response["Error"]["Code"] != "NoSuchKey":
                raise
            return None
        said: dict[str, str] = json.loads(answer["Body"].read())
        return answer["ETag"], said


@contextmanager
def watching(server: S3Server, store: Store) -> Iterator[Watcher]:
    """Watch the bucket of `store` from another thread in the block; at its end nothing wrong has been seen."""
    bucket, _, prefix = store.url.removeprefix("s3://").partition("/")
    stop = threading.Event()
    failures: list[BaseException] = []

    def watch() -> None:
        try:
            while not stop.wait(_PAUSE_S):
                watcher.look()
            watcher.look()
        except BaseException as exc:
            failures.append(exc)

    with closing(server.client()) as client:
        watcher = Watcher(client, bucket, f"{prefix}/")
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield watcher
        finally:
            stop.set()
            thread.join()
    assert not failures, failures
    assert not watcher.wrong, "\n".join(watcher.wrong)
