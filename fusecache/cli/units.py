"""Numbers as people read them."""

from __future__ import annotations

import math


def size(count: float | None) -> str:
    """Return `12.0 MiB`; a dash for what is not known."""
    if count is None:
        return "–"
    if count < 1024:
        return f"{int(count)} B"
    power = min(int(math.log(count, 1024)), 5)
    scaled = count / 1024**power
    if scaled >= 999.95 and power < 5:  # never "1024.0 KiB"
        scaled, power = scaled / 1024, power + 1
    return f"{scaled:.1f} {' KMGTP'[power]}iB"


def span(seconds: float | None) -> str:
    """Return `4 s`, `3 min`, `2 h 5 min` or `3 d`."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return "less than 1 s" if seconds > 0 else "0 s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} d"


def about(seconds: float) -> str:
    """Return `about 4 s`, of a time that is guessed."""
    return f"about {span(seconds)}" if seconds >= 1 else span(seconds)


def changes(count: int) -> str:
    """Return `1 change` or `3 changes`."""
    return f"{count:,} change" + ("" if count == 1 else "s")


def attempts(count: int) -> str:
    """Return `1 attempt` or `3 attempts`."""
    return f"{count:,} attempt" + ("" if count == 1 else "s")


def files(count: int) -> str:
    """Return `1 file` or `3 files`."""
    return f"{count:,} file" + ("" if count == 1 else "s")
