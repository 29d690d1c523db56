"""How much a random test does: what a run can wait for, and under `script/test soak` what finds rare faults."""

from __future__ import annotations

import os
import random

IS_SOAK = "FUSECACHE_SOAK" in os.environ
IS_SHORT = "FUSECACHE_SHORT" in os.environ
"""The same once more, on the other transport: that it is another one shows soon, or not at all."""
SEED = int(os.environ.get("FUSECACHE_SEED", "0")) or (random.SystemRandom().randrange(1 << 20) if IS_SOAK else 1)
"""Of what draws at random by itself; failures tell it. A change meets the histories that the last one met: new ones
are looked for by a soak, whose finds become tests of their own."""


def amount(variable: str, *, usual: int, soak: int) -> int:
    """Return what the environment variable says, else what this run can wait for: if it is short, a fourth."""
    return int(os.environ.get(variable, soak if IS_SOAK else -(-usual // 4) if IS_SHORT else usual))


def examples(usual: int) -> int:
    """Return how many examples Hypothesis tries where `usual` are enough for a change."""
    return amount("FUSECACHE_EXAMPLES", usual=usual, soak=usual * 40)
