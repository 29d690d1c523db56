"""One exception out of a nursery's group: nobody outside should have to know that there were tasks."""

from __future__ import annotations

from fusecache.errors import FusecacheError


def cause_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first leaf, bugs before what was raised on purpose: the rest follows from it."""
    leaves: list[BaseException] = []
    todo: list[BaseException] = [group]
    while todo:
        exc = todo.pop(0)
        if isinstance(exc, BaseExceptionGroup):
            todo = [*exc.exceptions, *todo]
        else:
            leaves.append(exc)
    return next((exc for exc in leaves if not isinstance(exc, FusecacheError)), leaves[0])
