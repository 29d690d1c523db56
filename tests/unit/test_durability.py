"""Who waits for the journal at the same time shares a sync of it."""

from __future__ import annotations

import errno
import os
import threading

import trio
from trio.testing import wait_all_tasks_blocked

from fusecache.errors import NamespaceError
from fusecache.namespace.durability import Durability
from fusecache.types import Seq


class SlowJournal:
    """A database whose syncs end when they are told to."""

    def __init__(self) -> None:
        self.seq = self.synced_seq = Seq(0)
        self.syncs = 0
        self.refuses = False
        self.may_end = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def commit(self) -> Seq:
        self.seq = Seq(self.seq + 1)
        return self.seq

    def before_sync(self) -> None:
        self.syncs += 1

    def sync(self) -> None:
        seq = self.seq
        self.begun.release()
        assert self.may_end.acquire(timeout=5)
        if self.refuses:
            raise NamespaceError("the disk refused") from OSError(errno.EIO, os.strerror(errno.EIO))
        self.synced_seq = seq


async def begun(journal: SlowJournal) -> None:
    await trio.to_thread.run_sync(journal.begun.acquire)


async def test_who_comes_during_a_sync_shares_the_next() -> None:
    journal = SlowJournal()
    durability = Durability(journal)  # type: ignore[arg-type]  # as far as it is used
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(durability.reached, journal.commit())
            await begun(journal)
            for _ in range(7):
                nursery.start_soon(durability.reached, journal.commit())
            await wait_all_tasks_blocked()
            journal.may_end.release(2)
    assert (journal.syncs, journal.synced_seq) == (2, 8)


async def test_nobody_is_told_that_a_refused_sync_covered_him() -> None:
    journal = SlowJournal()
    journal.refuses = True
    durability = Durability(journal)  # type: ignore[arg-type]  # as far as it is used
    refused = []

    async def wait(seq: Seq) -> None:
        try:
            await durability.reached(seq)
        except NamespaceError:
            refused.append(seq)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, journal.commit())
            await wait_all_tasks_blocked()
            journal.may_end.release(3)
    assert sorted(refused) == [1, 2, 3]


async def test_a_cancelled_caller_keeps_nobody_waiting() -> None:
    journal = SlowJournal()
    durability = Durability(journal)  # type: ignore[arg-type]  # as far as it is used
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def impatient() -> None:
                with scope:
                    await durability.reached(journal.commit())

            nursery.start_soon(impatient)
            await begun(journal)
            nursery.start_soon(durability.reached, journal.commit())
            await wait_all_tasks_blocked()
            scope.cancel()
            journal.may_end.release(2)
    assert journal.synced_seq == 2
