"""What can be done with the state of a mount that nobody has mounted, its directories locked."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

from fusecache.backends.factory import open_backend
from fusecache.backends.retry import RetryingReader
from fusecache.building import contents_of, doctor_of, namespace_of, namespace_path, recovery_of, store_options
from fusecache.config import Config
from fusecache.doctor.doctor import Doctor
from fusecache.doctor.repair import Repairer
from fusecache.doctor.rows import is_sound
from fusecache.doctor.snapshot import Snapshot
from fusecache.errors import NamespaceError
from fusecache.namespace.durability import Durability
from fusecache.persist.export import Exporter
from fusecache.types import Extent, InodeNo


@asynccontextmanager
async def open_doctor(config: Config, *, repair: bool) -> AsyncIterator[Doctor]:
    """Open what is needed to examine the state of a mount that nobody has mounted, its directories locked.

    Without `repair` nothing is changed: no recovery, no migration.

    Raises:
        NamespaceError: there is none, or it belongs to another store.
    """
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(config.store, store_options(config)))
        reader = RetryingReader(backend, patience_s=config.patience_s, rng=random.Random())
        with contextlib.closing(Snapshot(namespace_path(config))) as snapshot:
            may_repair = is_sound(snapshot, backend.url) and repair
        repairer = None
        if may_repair:
            with contextlib.suppress(NamespaceError):  # damaged: the doctor says so, and nothing is repaired
                namespace = stack.enter_context(contextlib.closing(namespace_of(config, backend.url)))
                contents = stack.enter_context(contextlib.closing(contents_of(config)))
                durability = Durability(namespace.database)
                repairer = Repairer(
                    config.cache_dirs[0], namespace.tables, contents, durability, reader, replaced=_nobody_believes
                )
        yield doctor_of(config, reader, repairer, is_mounted=False)


@contextlib.contextmanager
def open_exporter(config: Config) -> Iterator[Exporter]:
    """Open what is needed to save the bytes of a mount that nobody has mounted, its directories locked.

    The store is not asked for anything: it may be gone. After a power loss what cannot be believed is put aside.

    Raises:
        NamespaceError: there is none, or it is damaged.
    """
    with contextlib.closing(Snapshot(namespace_path(config))) as snapshot:
        row = snapshot.first("SELECT url FROM store")
    with contextlib.ExitStack() as stack:
        namespace = stack.enter_context(contextlib.closing(namespace_of(config, row[0] if row else config.store)))
        contents = stack.enter_context(contextlib.closing(contents_of(config)))
        recovery_of(config, namespace, contents).run()
        yield Exporter(namespace.tables, contents)


def _nobody_believes(_ino: InodeNo, _extent: Extent) -> None:
    """Nothing is mounted, so no kernel has read anything."""
