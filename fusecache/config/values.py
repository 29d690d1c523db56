"""Values as people write them: sizes, durations, octal modes, switches, lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from fusecache.errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def size(value: object) -> int:
    """Return bytes: `4096`, `64K`, `1.5G`; K, M, G, T and P are powers of 1024."""
    match = _SIZE.fullmatch(_plain(value).strip())
    if match is None:
        raise ConfigError(f"{value!r} is no size: write 4096, 64K, 100M or 1.5G")
    return int(float(match[1]) * 1024 ** " KMGTP".index(match[2].upper() or " "))


def duration(value: object) -> float:
    """Return seconds: `250ms`, `60s`, `5m`, `2h`, or a bare number of seconds."""
    match = _DURATION.fullmatch(_plain(value).strip())
    if match is None:
        raise ConfigError(f"{value!r} is no duration: write 250ms, 60s, 5m or 2h")
    return float(match[1]) * _SECONDS[(match[2] or "s").lower()]


def mode(value: object) -> int:
    """Return permission bits of an octal string (`0644`), or an integer as it is (TOML's `0o644`)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"(0o)?[0-7]{3,4}", value):
        raise ConfigError(f"{value!r} is no file mode: write it in octal, as 0644")
    return int(value, 8)


def switch(value: object) -> bool:
    """Return a yes or a no; the empty string is a yes, as an fstab option without a value is."""
    text = str(value).lower()
    if text in _TRUE or text == "":
        return True
    if text in _FALSE:
        return False
    raise ConfigError(f"{value!r} is neither yes nor no")


def number(value: object) -> int:
    """Return a whole number, not negative."""
    text = _plain(value)
    if not text.isascii() or not text.isdigit():
        raise ConfigError(f"{value!r} is no whole number")
    return int(text)


def decimal(value: object) -> float:
    """Return a number above 0, maybe with a point."""
    try:
        found = float(_plain(value))
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise ConfigError(f"{value!r} is no number above 0")
    return found


def ratio(value: object) -> float:
    """Return a share of a whole: `0.1` or `10%`."""
    match = _RATIO.fullmatch(_plain(value).strip())
    if match is None:
        raise ConfigError(f"{value!r} is no share: write 0.1 or 10%")
    return float(match[1]) / (100 if match[2] else 1)


def text(value: object) -> str:
    """Return a string that says something, without control characters."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(f"{value!r} is not a line of text")
    return value


def texts(value: object) -> tuple[str, ...]:
    """Return the strings of a list, or the one that was given."""
    return tuple(text(each) for each in (value if isinstance(value, list | tuple) else (value,)))


def path(value: object) -> Path:
    """Return an absolute path; a leading `~` is the user's home."""
    return Path(text(value)).expanduser().absolute()


def paths(value: object) -> tuple[Path, ...]:
    """Return the directories of a list, or of one string that separates them with colons."""
    parts = value if isinstance(value, list | tuple) else [part for part in text(value).split(":") if part]
    if not parts:
        raise ConfigError(f"{value!r} names no directory")
    return tuple(path(part) for part in parts)


def choice(*allowed: str, also: Mapping[str, str] | None = None) -> Callable[[object], str]:
    """Return a reader of one word out of `allowed`; `also` words that others use for these."""
    known = {word: word for word in allowed} | dict(also or {})

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ConfigError(f"{value!r} is not one of {', '.join(allowed)}")
        return known[value]

    return read


def _plain(value: object) -> str:
    """The text of a string or number; a boolean is no number, whatever Python says."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ConfigError(f"{value!r} is no number")
    return str(value)
