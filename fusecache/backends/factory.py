"""From what a user types, `s3://bucket/prefix` or `file:///dir`, to an open store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fusecache.backends.base import Backend
from fusecache.backends.local import open_local
from fusecache.backends.options import S3Options, StoreOptions
from fusecache.backends.pace import Refused, unheard
from fusecache.errors import ConfigError

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
async def open_backend(
    store: StoreURL | str, options: StoreOptions, *, refused: Refused = unheard
) -> AsyncIterator[Backend]:
    """Open a store; what it holds open closes with the block. Makes no request: see `Backend.check`.

    `refused` is told of throttled requests that were sent again, and so raise nothing.

    Raises:
        ConfigError: the URL or an option is wrong.
    """
    url = parse_store(store) if isinstance(store, str) else store
    if url.scheme == "file":
        async with open_local(Path(url.prefix)) as local:
            yield local
        return
    # Half a second of imports, spared to who needs no S3.
    from fusecache.backends.s3 import open_s3

    async with open_s3(S3Options(bucket=url.bucket, prefix=url.prefix, **asdict(options)), refused=refused) as s3:
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
