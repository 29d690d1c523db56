"""Which transport a mount has whose owner leaves it open."""

from __future__ import annotations

from collections.abc import Mapping

VARIABLE = "FUSECACHE_TRANSPORT"


def automatic(*, environ: Mapping[str, str]) -> str:
    """Return what the environment says, or else what works everywhere."""
    return environ.get(VARIABLE, "pyfuse3")


def other(transport: str) -> str:
    """Return the one of the two that this is not."""
    return "pyfuse3" if transport == "direct" else "direct"
