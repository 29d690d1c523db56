"""Which transport a mount has whose owner leaves it open."""

from __future__ import annotations

import re
from collections.abc import Mapping

VARIABLE = "FUSECACHE_TRANSPORT"
_PASSTHROUGH_SINCE = (6, 9)
_RELEASE = re.compile(r"(\d+)\.(\d+)")


def automatic(*, uid: int, release: str, environ: Mapping[str, str]) -> str:
    """Return what the environment says, or else what is best for user `uid` on a kernel of that `release`.

    That is the direct one where the kernel reads and writes files by itself, which it does for root; all others have
    what works everywhere.
    """
    found = _RELEASE.match(release)
    backs = uid == 0 and found is not None and (int(found[1]), int(found[2])) >= _PASSTHROUGH_SINCE
    return environ.get(VARIABLE, "direct" if backs else "pyfuse3")


def other(transport: str) -> str:
    """Return the one of the two that this is not."""
    return "pyfuse3" if transport == "direct" else "direct"
