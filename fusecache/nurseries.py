"""A nursery's ExceptionGroup does not cross a module boundary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from fusecache.errors import FusecacheError


@contextmanager
def unwrapped() -> Iterator[None]:
    """Put it around a nursery: its first real error comes out instead of the group.

    Bugs come before what was raised on purpose, which is likely to follow from them.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        _, errors = group.split(trio.Cancelled)
        if errors is None:
            raise  # a cancellation, and nothing else
        raise _cause_of(errors) from group


def _cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    leaves: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        exc = todo.pop(0)
        if isinstance(exc, BaseExceptionGroup):
            todo = [*exc.exceptions, *todo]
        else:
            leaves.append(exc)
    return next((exc for exc in leaves if not isinstance(exc, FusecacheError)), leaves[0])
