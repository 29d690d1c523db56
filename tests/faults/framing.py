"""Where a message of HTTP/1.1 ends: all that is known here of its body, whose bytes are passed on as they come.

RFC 9112, section 6. A head is passed on as it came, too, since its signature covers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

END = b"\r\n\r\n"
_HEADER = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|expect|x-amz-copy-source|x-amz-security-token):[ \t]*([^\r]*)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Head:
    """The first lines of a message, of which no more is read than what its passing on depends on."""

    raw: bytes
    first: tuple[str, str, str]
    """Method, target, version; or version, status, reason."""
    length: int | None
    """Of the body, as Content-Length says."""
    is_chunked: bool
    closes: bool
    expects: bool
    """Whoever sent it waits for a 100 before the body."""
    is_copy: bool
    token: str = ""
    """Of the session that it is signed for."""

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first[1])


def parse(raw: bytes) -> Head:
    """Read a head that ends with an empty line."""
    line, _, _ = raw.partition(b"\r\n")
    a, b, c = [*line.decode("latin-1").split(" ", 2), ""][:3]
    found = {name.lower(): value.strip() for name, value in _HEADER.findall(raw)}
    length = found.get(b"content-length")
    return Head(
        raw,
        (a, b, c),
        None if length is None else int(length),
        found.get(b"transfer-encoding", b"").lower() == b"chunked",
        found.get(b"connection", b"").lower() == b"close",
        b"expect" in found,
        b"x-amz-copy-source" in found,
        found.get(b"x-amz-security-token", b"").decode("latin-1"),
    )


def has_body(answer: Head, method: str) -> bool:
    """Whether an answer to `method` has a body at all."""
    return method != "HEAD" and answer.status not in (204, 304) and answer.status >= 200


class Chunks:
    """Finds the end of a chunked body, however its bytes are cut."""

    def __init__(self) -> None:
        self._line = b""
        self._left = 0
        """Of a chunk, with the line end behind it."""
        self._is_last = False
        """Only trailers are left, and an empty line."""

    def feed(self, data: bytes) -> int | None:
        """Return how many bytes of `data` are the body's, None if all of them are and there are more to come."""
        at = 0
        while at < len(data):
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            if end < 0:
                self._line += data[at:]
                return None
            line = (self._line + data[at:end]).strip()
            self._line = b""
            at = end + 1
            if self._is_last:
                if not line:
                    return at
            else:
                size = int(line.partition(b";")[0], 16)
                self._is_last = size == 0
                self._left = size + 2 if size else 0
        return None
