"""Names to keys and back, reversibly.

A name is any bytes but `/` and NUL; a key is text that every store takes. What a key cannot
hold (invalid UTF-8, control bytes, the escape character) is written as `‰` and two hex digits a byte.
Components that are no POSIX name (empty, `.`, `..`) get names of their own.
"""

from __future__ import annotations

import re

from fusecache.errors import NameTooLong

ESCAPE = "\u2030"  # per mille: printable, legal in keys, and next to never in a file name
TMP_PREFIX = ".fusecache-tmp/"
"""Keys that are ours and no file: where a relocation steps aside when two wait for each other."""
MAX_NAME_BYTES = 255

_ODD_COMPONENTS = {"": ESCAPE, ".": f"{ESCAPE}2E", "..": f"{ESCAPE}2E{ESCAPE}2E"}
_ODD_NAMES = {name.encode(): component for component, name in _ODD_COMPONENTS.items()}
_ESCAPED = re.compile(f"{ESCAPE}([0-9A-F]{{2}})")
_PLAIN = re.compile(rb"[\x20-\x7e]+\Z")


def component_of(name: bytes) -> str:
    """Return the part of a key that stands for `name`."""
    if _PLAIN.match(name):
        return name.decode("ascii")
    if (odd := _ODD_NAMES.get(name)) is not None:
        return odd
    text = name.decode("utf-8", "surrogateescape")
    return "".join(_escaped(char) if _needs_escape(char) else char for char in text)


def name_of(component: str) -> bytes:
    """Return the name under which a part of a key is shown.

    Raises:
        NameTooLong: no directory entry can hold it.
    """
    text = _ODD_COMPONENTS.get(component)
    if text is not None:
        return text.encode()
    raw = bytearray()
    position = 0
    for match in _ESCAPED.finditer(component):
        raw += component[position : match.start()].encode()
        raw.append(int(match[1], 16))
        position = match.end()
    raw += component[position:].encode()
    if len(raw) > MAX_NAME_BYTES or b"/" in raw or b"\0" in raw:
        raise NameTooLong(f"key component {component!r} is no file name")
    return bytes(raw)


def ancestors(key: str) -> list[str]:
    """Return the prefixes above `key`, nearest last: `a/b/c` → `a/`, `a/b/`."""
    return [key[: i + 1] for i, char in enumerate(key[:-1]) if char == "/"]


def after(prefix: str) -> str:
    """Return the first text above every key that begins with `prefix` (which is not empty)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _needs_escape(char: str) -> bool:
    return char < " " or char == "\x7f" or char == ESCAPE or "\ud800" <= char <= "\udfff"


def _escaped(char: str) -> str:
    return "".join(f"{ESCAPE}{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
