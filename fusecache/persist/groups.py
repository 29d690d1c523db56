"""A nursery's ExceptionGroup does not cross a module boundary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from fusecache.errors import cause_of


@contextmanager
def unwrapped() -> Iterator[None]:
    """Put it around a nursery: its first real error comes out, instead of the group."""
    try:
        yield
    except BaseExceptionGroup as group:
        _, errors = group.split(trio.Cancelled)
        if errors is None:
            raise
        raise cause_of(errors) from errors
