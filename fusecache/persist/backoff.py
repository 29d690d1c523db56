"""How long to wait before what failed is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from fusecache.persist.settings import Settings


@dataclass(frozen=True, slots=True)
class Backoff:
    """Grows with the failures, with full jitter, and is never less than the store asked for."""

    settings: Settings
    rng: random.Random

    def __call__(self, attempts: int, *, retry_after_s: float) -> float:
        """Return the seconds to wait after so many failures."""
        ceiling = min(self.settings.backoff_cap_s, self.settings.backoff_base_s * 2 ** min(attempts, 20))
        return max(retry_after_s, self.rng.uniform(0.0, ceiling))
