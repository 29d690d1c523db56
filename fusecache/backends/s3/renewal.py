"""Credentials that a store calls expired: the chain is asked again, before anybody is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import trio
from botocore.credentials import Credentials, RefreshableCredentials

EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
"""What a store answers when the credentials were good once."""
RENEWED = "fusecache-renewed"
"""In the `Error` of such an answer: other credentials are used from now on, so that asking again makes sense."""

_UNDER_WAY_S = 60.0
"""How long requests may be answered that were signed before others have replaced the credentials."""
_MAY_BE_REPLACED = EXPIRED | {"InvalidAccessKeyId", "XAdminUserNotFound", "InvalidToken"}
"""Keys that somebody has rotated away."""


class Renewal:
    """Handles botocore's `after-call`. It renews by itself what tells its own end, but that may come early, or the
    clocks differ; and keys in a file are never read again, though people and tools replace them there."""

    def __init__(
        self, current: Callable[[], Credentials | None], reload: Callable[[], Awaitable[Credentials | None]]
    ) -> None:
        """`current` gives the credentials in use, `reload` looks through the chain anew."""
        self._current = current
        self._reload = reload
        self._replaced_s = float("-inf")

    async def __call__(self, *, parsed: Mapping[str, Any], **_: object) -> None:
        """Note in the answer whether the next request will be signed with other credentials."""
        error = parsed.get("Error")
        if error and error.get("Code") in _MAY_BE_REPLACED and await self._renewed():
            error[RENEWED] = True

    async def _renewed(self) -> bool:
        used = self._current()
        if used is None:
            return False
        if isinstance(used, RefreshableCredentials):
            used._expiry_time = datetime.now(UTC)  # it has no other switch
            return True
        found = await self._reload()
        if found is None or isinstance(found, RefreshableCredentials):
            return False
        if (found.access_key, found.secret_key, found.token) == (used.access_key, used.secret_key, used.token):
            return trio.current_time() < self._replaced_s + _UNDER_WAY_S
        self._replaced_s = trio.current_time()
        used.access_key, used.secret_key, used.token = found.access_key, found.secret_key, found.token
        return True
