"""From what a user types, `s3://bucket/prefix` or `file:///dir`, to an open store."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import cast

import trio

from fusecache.backends.base import Backend
from fusecache.backends.later import Later
from fusecache.backends.local import open_local
from fusecache.backends.notices import Queue
from fusecache.backends.options import S3Options, StoreOptions
from fusecache.backends.pace import Refused, unheard
from fusecache.errors import ConfigError
from fusecache.nurseries import unwrapped
from fusecache.types import Capabilities

_S3 = "fusecache.backends.s3"
_KNOWN = "s3://bucket[/prefix] and file:///directory"


@dataclass(frozen=True, slots=True)
class StoreURL:
    """A store, parsed. `prefix` is '' or 'x/y/' for s3, and the absolute directory for file."""

    scheme: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file://{self.prefix}"
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def parse_store(url: str) -> StoreURL:
    """Take a store's URL apart. Nothing is decoded: `%`, `?` and `#` stand for themselves, as in a key.

    Raises:
        ConfigError: not a store, or one that this version does not know.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise ConfigError(f"{url}: not a store; known are {_KNOWN}")
    match scheme.lower():
        case "s3" | "s3a" | "s3n":
            return _parse_s3(url, rest)
        case "file":
            return _parse_file(url, rest)
        case "hdfs":
            raise ConfigError(f"{url}: hdfs:// is not in this version; known are {_KNOWN}")
        case _:
            raise ConfigError(f"{url}: unknown scheme {scheme}://; known are {_KNOWN}")


@asynccontextmanager
async def open_queue(name: str, options: StoreOptions) -> AsyncIterator[Queue]:
    """Open the queue in which a bucket tells of changes: `sqs://name`, or its URL. Makes no request.

    Raises:
        ConfigError: an option is wrong.
    """
    module = await trio.to_thread.run_sync(importlib.import_module, f"{_S3}.queue")
    async with module.open_queue(name, options) as queue:
        yield queue


@asynccontextmanager
async def open_backend(
    store: StoreURL | str, options: StoreOptions, *, refused: Refused = unheard, at_once: bool = True
) -> AsyncIterator[Backend]:
    """Open a store; what it holds open closes with the block. Makes no request: see `Backend.check`.

    `refused` is told of throttled requests that were sent again, and so raise nothing. Not `at_once`: what is slow to
    open is opened while the block runs, and who asks before that waits.

    Raises:
        ConfigError: the URL or an option is wrong. Not `at_once`, the block is cancelled for it.
    """
    url = parse_store(store) if isinstance(store, str) else store
    if url.scheme == "file":
        async with open_local(Path(url.prefix)) as local:
            yield local
        return
    s3_options = S3Options(bucket=url.bucket, prefix=url.prefix, **asdict(options))
    opened = partial(_open_s3, s3_options, refused)
    if at_once:
        async with opened() as s3:
            yield s3
        return
    expected = Capabilities(max_key_bytes=s3_options.max_key_bytes, checksums=False)
    later = Later(str(url), expected, prepare=partial(importlib.import_module, _S3), opened=opened)
    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later.run)
            yield cast("Backend", later)
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_s3(options: S3Options, refused: Refused) -> AsyncIterator[Backend]:
    from fusecache.backends.s3 import open_s3  # a quarter of a second of imports, spared to who needs no S3

    async with open_s3(options, refused=refused) as s3:
        yield s3


def _parse_s3(url: str, rest: str) -> StoreURL:
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{url}: no bucket; write s3://bucket/prefix")
    prefix = path.strip("/")
    if "//" in prefix:
        raise ConfigError(f"{url}: the prefix has an empty part")
    return StoreURL("s3", bucket, f"{prefix}/" if prefix else "")


def _parse_file(url: str, rest: str) -> StoreURL:
    if not rest.startswith("/"):
        raise ConfigError(f"{url}: write file:///directory, with an absolute path")
    return StoreURL("file", "", str(Path(rest)))
