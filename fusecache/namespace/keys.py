"""Names to keys and back, one to one.

A name is any bytes but `/` and NUL; a key is text that every store takes. What a key cannot
hold (invalid UTF-8, control bytes, the escape character) is written as `‰` and two hex digits a byte.
Others write keys that this never makes, and that are yet to be shown under a name of their own:
empty components, `.`, `..`, control characters as they are, a `‰` with something else behind it.
They are *quoted*: shown as they are, behind a `‰`.
"""

from __future__ import annotations

import re

from fusecache.errors import InvalidArgument, NameTooLong

ESCAPE = "\u2030"  # per mille: printable, legal in keys, and next to never in a file name
TMP_PREFIX = ".fusecache-tmp/"
"""Keys that are ours and no file: where a relocation steps aside when two wait for each other."""
MAX_NAME_BYTES = 255
UNSTORABLE = frozenset((ESCAPE + odd).encode() for odd in ("", ".", ".."))
"""Names of components that are only read: with the first, a file's key would be its directory's."""

_ODD_COMPONENTS = ("", ".", "..")
_ESCAPED = re.compile(f"{ESCAPE}([0-9A-F]{{2}})")
_PLAIN_NAME = re.compile(rb"[\x20-\x7e]+\Z")
_PLAIN_COMPONENT = re.compile(f"[^\\x00-\\x1f\\x7f{ESCAPE}]+\\Z")
_ESCAPE_BYTES = ESCAPE.encode()


def check_storable(name: bytes) -> None:
    """Refuse the few names whose key would be that of a directory, or no key at all. Raises InvalidArgument."""
    if name in UNSTORABLE:
        raise InvalidArgument(f"{name!r} would have the key of something else")


def component_of(name: bytes) -> str:
    """Return the part of a key that stands for `name`."""
    if _PLAIN_NAME.match(name):
        return name.decode("ascii")
    if name.startswith(_ESCAPE_BYTES):
        quoted = name.decode("utf-8", "surrogateescape")[1:]
        if _is_quoted(quoted):
            return quoted
    return _encoded(name)


def name_of(component: str) -> bytes:
    """Return the name under which a part of a key is shown.

    Raises:
        NameTooLong: no directory entry can hold it.
    """
    name = _ESCAPE_BYTES + component.encode() if _is_quoted(component) else _decoded(component)
    if len(name) > MAX_NAME_BYTES or b"/" in name or b"\0" in name:
        raise NameTooLong(f"key component {component!r} is no file name")
    return name


def ancestors(key: str) -> list[str]:
    """Return the prefixes above `key`, nearest last: `a/b/c` → `a/`, `a/b/`."""
    return [key[: i + 1] for i, char in enumerate(key[:-1]) if char == "/"]


def after(prefix: str) -> str:
    """Return the first text above every key that begins with `prefix` (which is not empty)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _is_quoted(component: str) -> bool:
    """Whether `component` is shown behind a `‰`: no name is encoded so, or that name means another."""
    if component in _ODD_COMPONENTS:
        return True
    if _PLAIN_COMPONENT.match(component) or not _is_text(component):
        return False
    name = _decoded(component)
    if b"/" in name or b"\0" in name or name.decode("utf-8", "surrogateescape") in _ODD_COMPONENTS:
        return True
    if _encoded(name) != component:
        return True
    return name.startswith(_ESCAPE_BYTES) and _is_quoted(name.decode("utf-8", "surrogateescape")[1:])


def _is_text(component: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in component)


def _encoded(name: bytes) -> str:
    text = name.decode("utf-8", "surrogateescape")
    return "".join(_escaped(char) if _needs_escape(char) else char for char in text)


def _decoded(component: str) -> bytes:
    raw = bytearray()
    position = 0
    for match in _ESCAPED.finditer(component):
        raw += component[position : match.start()].encode()
        raw.append(int(match[1], 16))
        position = match.end()
    raw += component[position:].encode()
    return bytes(raw)


def _needs_escape(char: str) -> bool:
    return char < " " or char == "\x7f" or char == ESCAPE or "\ud800" <= char <= "\udfff"


def _escaped(char: str) -> str:
    return "".join(f"{ESCAPE}{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
