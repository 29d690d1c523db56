"""A cluster, a mount that it writes to, and the store behind that: all that a job meets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset
import pyarrow.fs

from tests.faults.server import FaultServer
from tests.mount.harness import Mount, Store, tree
from tests.servers import ACCESS_KEY, REGION, SECRET_KEY
from tests.spark.session import Spark

PREFIX = "some/prefix/"
MARKER = "_SUCCESS"
EMPTY_CRC_BYTES = 8
"""Of the checksum file that a marker gets in `.spark-staging*`, where it stays."""
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class World:
    spark: Spark
    mount: Mount
    faults: FaultServer
    store: Store
    bucket: str
    root: Path
    """Where Spark's user may write, on the mount."""

    def flushed(self) -> None:
        """Drain, and compare: the bucket is the tree, less what has no business there."""
        told = self.mount.flush()
        assert (told["files_left"], told["stuck"], told["open_files"]) == (0, [], []), told
        objects = self.store.objects()
        expected = {path: data for path, data in tree(self.mount.path).items() if not is_staging(path)}
        assert objects == expected, f"{sorted(objects)} instead of {sorted(expected)}"

    def seen_by_others(self, table: str, columns: list[str]) -> Rows:
        """Return the rows of a table as pyarrow reads it from the bucket, sorted."""
        path = f"{self.bucket}/{PREFIX}{(self.root / table).relative_to(self.mount.path)}"
        host = self.faults.store.endpoint_url.removeprefix("http://")
        filesystem = pyarrow.fs.S3FileSystem(
            access_key=ACCESS_KEY, secret_key=SECRET_KEY, region=REGION, endpoint_override=host, scheme="http"
        )
        found = pyarrow.dataset.dataset(path, filesystem=filesystem, format="parquet", partitioning="hive").to_table()
        return sorted(tuple(row[column] for column in columns) for row in found.to_pylist())

    @contextmanager
    def copies_nothing(self) -> Iterator[None]:
        """What the block writes to the mount is there at its end, and no rename has become a copy."""
        before, written, speculated = self._files(), self._written(), self.spark.speculated()
        seen = len(self.spark.fallbacks())
        yield
        copies = self.spark.fallbacks()[seen:]
        assert not copies, "\n".join(copies)
        made = sum(size for _, _, size in self._files() - before)
        if self.spark.speculated() == speculated:  # what the slower of two has written is gone
            written = self._written() - written
            assert written - made in (0, EMPTY_CRC_BYTES), f"{written} bytes were written to make {made}"

    def _files(self) -> set[tuple[int, int, int]]:
        """Every file as who it is, when it was written and how long it is: a rename changes none of these."""
        found = (path.stat() for path in self.mount.path.rglob("*") if path.is_file())
        return {(status.st_ino, status.st_mtime_ns, status.st_size) for status in found}

    def _written(self) -> int:
        return int(self.mount.facts()["bytes_written"])


def is_staging(path: str) -> bool:
    """Whether a path is of the kind that stays here, said independently of how the mount decides it."""
    *above, name = path.rstrip("/").split("/")
    directories = [*above, name] if path.endswith("/") else above
    is_below = any(each == "_temporary" or each.startswith((".spark-staging", ".hive-staging")) for each in directories)
    return is_below or (name.startswith(".") and name.endswith(".crc"))
