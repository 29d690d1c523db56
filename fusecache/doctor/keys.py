"""Keys that others write, and no path can name. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fusecache.doctor.findings import Finding, Kind
from fusecache.errors import NameTooLong
from fusecache.namespace.keys import ESCAPE, TMP_PREFIX, name_of
from fusecache.types import ObjectInfo

_CONFLICT = re.compile(r"\.conflict-[^/]+\Z")
"""As `persist/overwrite.py` names them."""


class KeyCheck:
    """Looks at keys one after the other, in the order of a listing."""

    def __init__(self) -> None:
        self._above: list[str] = []
        """Keys, each the beginning of the next, that a coming one may lie below."""

    def check(self, info: ObjectInfo) -> Iterator[Finding]:
        """Yield what is odd about a key; `.fusecache-tmp/` isn't looked at."""
        key = info.key
        if key.startswith(TMP_PREFIX):
            return
        yield from self._hiding(key)
        parts = key.removesuffix("/").split("/")
        try:
            names = [name_of(part) for part in parts]
        except NameTooLong as exc:
            yield Finding(Kind.UNNAMEABLE, key, str(exc))
            return
        if key.endswith("/") and info.size:
            yield Finding(Kind.UNNAMEABLE, key, f"a directory's key, with {info.size} bytes")
        if any(name == (ESCAPE + part).encode() for name, part in zip(names, parts, strict=True)):
            shown = "/" + b"/".join(names).decode("utf-8", "backslashreplace")
            yield Finding(Kind.QUOTED, key, f"shown as {shown}")
        if _CONFLICT.search(key):
            yield Finding(Kind.CONFLICT, key, f"{info.size} bytes")

    def _hiding(self, key: str) -> Iterator[Finding]:
        """Between `a` and `a/b` come only keys that begin with `a`: `a!`, `a-b`."""
        while self._above and not key.startswith(self._above[-1]):
            self._above.pop()
        for above in [each for each in self._above if key.startswith(f"{each}/")]:
            yield Finding(Kind.HIDDEN, above, f"{key} is below it")
            self._above.remove(above)  # once is enough
        if not key.endswith("/"):
            self._above.append(key)
