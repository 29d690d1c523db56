"""A store whose client comes a moment later: importing and making it takes longer than a next daemon's first answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio

from fusecache.backends.base import Backend
from fusecache.types import Capabilities

_AFTER_S = 0.1
"""What waits for this process, and not for the store, is answered by then. An import in a thread would take half of the
interpreter from it."""


class Later:
    """Passes on what is asked of a store, once there is somebody who can be asked; who comes before waits."""

    def __init__(
        self,
        url: str,
        expected: Capabilities,
        *,
        prepare: Callable[[], object],
        opened: Callable[[], AbstractAsyncContextManager[Backend]],
    ) -> None:
        """`expected` is what the store says of itself before its first answer. `prepare` runs in a thread, before
        `opened` is called."""
        self.url = url
        self._expected = expected
        self._prepare = prepare
        self._open = opened
        self._backend: Backend | None = None
        self._is_open = trio.Event()

    def __repr__(self) -> str:
        return f"<Later {self.url}: {self._backend!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._expected if self._backend is None else self._backend.capabilities

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """All else that a `Backend` has is asked and awaited. A cancellation while it waits leaves nothing behind."""
        if name.startswith("_"):
            raise AttributeError(name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            await self._is_open.wait()
            return await getattr(self._backend, name)(*args, **kwargs)

        return ask

    async def run(self) -> None:
        """Open it, and keep it open until cancelled. Raises what `opened` does: then nobody is answered."""
        await trio.sleep(_AFTER_S)
        await trio.to_thread.run_sync(self._prepare)
        async with self._open() as self._backend:
            self._is_open.set()
            await trio.sleep_forever()
