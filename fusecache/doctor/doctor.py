"""Compares database, content files and bucket with each other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

import trio

from fusecache.backends.base import Backend
from fusecache.doctor.blocks import check_blocks
from fusecache.doctor.files import check_aside, check_suspect, check_unknown, suspects
from fusecache.doctor.findings import Finding, Kind, Report
from fusecache.doctor.objects import Bucket
from fusecache.doctor.repair import Repairer
from fusecache.doctor.rows import check_rows, check_stuck
from fusecache.doctor.snapshot import Snapshot
from fusecache.errors import BackendError, NamespaceError, StoreRefused
from fusecache.nurseries import unwrapped

T = TypeVar("T")
Progress = Callable[[dict[str, object]], None]

_SETTLE_S = 0.5
"""What changes in two steps, of a row and a file, has taken the second one by then."""
_TELL_S = 0.5
_BATCH = 100
"""Findings between two looks at the loop."""


class Doctor:
    """Examines one mount's state, in use or not. Reads only, but for what a `repairer` is given to do."""

    def __init__(
        self,
        *,
        namespace_db: Path,
        cache: Path,
        backend: Backend,
        wall_ns: Callable[[], int],
        is_mounted: bool,
        repairer: Repairer | None,
    ) -> None:
        """`backend`: one that is patient with a store that stutters. `repairer` None: nothing is changed."""
        self._namespace_db = namespace_db
        self._cache = cache
        self._backend = backend
        self._wall_ns = wall_ns
        self._is_mounted = is_mounted
        self._repairer = repairer
        self._threads = trio.CapacityLimiter(1)
        self._report = Report()

    async def examine(self, path_key: str, *, progress: Progress) -> dict[str, object]:
        """Return the report; of the bucket, only what is at or below a key is compared ('': all of it).

        A cancellation leaves each repair done or not begun.

        Raises:
            NamespaceError: there is no namespace to examine.
        """
        started_at = trio.current_time()
        with unwrapped(), contextlib.closing(Snapshot(self._namespace_db)) as snapshot:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._tell, progress)
                await self._check(snapshot, path_key)
                nursery.cancel_scope.cancel()
        return self._report.as_dict() | {"elapsed_s": round(trio.current_time() - started_at, 3)}

    async def _check(self, snapshot: Snapshot, path_key: str) -> None:
        await self._take(check_rows(snapshot))
        if not self._report.reads_rows:
            return
        try:
            await self._take(check_stuck(snapshot))
            await self._check_files(snapshot)
            await self._check_bucket(snapshot, path_key)
        except NamespaceError as exc:  # what cannot be read is told; what it speaks of cannot be looked at
            await self._meet(Finding(Kind.DATABASE, self._namespace_db.name, str(exc)))

    async def _check_files(self, snapshot: Snapshot) -> None:
        cache = self._cache
        await self._take(check_aside(cache))
        await self._take(check_unknown(snapshot, cache, self._look))
        doubtful = await self._in_thread(lambda: list(suspects(snapshot, cache, self._look)))
        if doubtful and self._is_mounted:
            await trio.sleep(_SETTLE_S)
        for suspect in doubtful:
            await self._take(check_suspect(snapshot, cache, suspect, self._look))
        index_db = cache / "index.db"
        if not index_db.exists():
            return
        with contextlib.closing(Snapshot(index_db)) as index:
            try:
                await self._take(check_blocks(snapshot, index, cache, self._look))
            except NamespaceError as exc:
                await self._meet(Finding(Kind.STALE, index_db.name, str(exc)))

    async def _check_bucket(self, snapshot: Snapshot, path_key: str) -> None:
        store = snapshot.first("SELECT store FROM store")
        bucket = Bucket(snapshot, self._backend, store=store[0] if store else 0, threads=self._threads, look=self._look)
        if await self._meet_all(bucket.check(path_key), refused=Kind.SILENT):
            uploads = bucket.uploads(now_ns=self._wall_ns())
            await self._meet_all(uploads, refused=Kind.UNLISTED)

    async def _meet_all(self, findings: AsyncIterator[Finding], *, refused: Kind) -> bool:
        """Meet what a check of the store finds; False if the store gave no answer, which is a finding, too."""
        try:
            async for finding in findings:
                await self._meet(finding)
        except BackendError as exc:
            kind = refused if isinstance(exc, StoreRefused) else Kind.SILENT
            await self._meet(Finding(kind, self._backend.url, str(exc) or type(exc).__name__))
            return False
        return True

    async def _take(self, findings: Iterator[Finding]) -> None:
        """Draw from a check in threads, and meet what it finds here."""
        while batch := await self._in_thread(lambda: list(islice(findings, _BATCH))):
            for finding in batch:
                await self._meet(finding)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._threads)

    async def _meet(self, finding: Finding) -> None:
        failure = ""
        repaired = False
        if self._repairer is not None and finding.remedy is not None and self._report.believes_rows:
            failure = await self._repairer.carry_out(finding.remedy)
            repaired = not failure
        self._report.add(finding, repaired=repaired, failure=failure)

    def _look(self, what: str, count: int) -> None:
        self._report.looked_at[what] += count
        with contextlib.suppress(RuntimeError):  # called on the loop itself, which sees to that
            trio.from_thread.check_cancelled()

    async def _tell(self, progress: Progress) -> None:
        while True:
            progress(dict(self._report.looked_at))
            await trio.sleep(_TELL_S)
