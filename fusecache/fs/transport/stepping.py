"""Running a request by hand, so that it is noticed when it has to wait."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any


@types.coroutine
def run(coroutine: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end and return its result; call `waits` if it yields to the scheduler before."""
    try:
        trap = coroutine.send(None)
    except StopIteration as end:
        return end.value
    waits()
    return (yield from rest(coroutine, trap))


@types.coroutine
def rest(coroutine: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end that was run until it yielded `trap`, and return its result."""
    try:
        while True:
            try:
                value = yield trap
            except BaseException as exc:
                trap = coroutine.throw(exc)
            else:
                trap = coroutine.send(value)
    except StopIteration as end:
        return end.value
