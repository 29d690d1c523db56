"""Extended attributes as one value of their inode's row: pairs, packed in the order of the names.

One row, so that a lookup costs no second query and an unlink forgets them; they are few and small.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

_LENGTHS = struct.Struct("<BI")
_TRAVEL = b"user."
Pairs = tuple[tuple[bytes, bytes], ...]


def packed(xattrs: Mapping[bytes, bytes]) -> bytes:
    """Return the attributes as they are kept in a row; names have up to 255 bytes."""
    return b"".join(_LENGTHS.pack(len(name), len(value)) + name + value for name, value in sorted(xattrs.items()))


def unpacked(blob: bytes | None) -> dict[bytes, bytes]:
    """Return what `packed` kept; nothing of a row that never had any."""
    found: dict[bytes, bytes] = {}
    position = 0
    while blob is not None and position < len(blob):
        name_length, value_length = _LENGTHS.unpack_from(blob, position)
        begin = position + _LENGTHS.size
        position = begin + name_length + value_length
        found[blob[begin : begin + name_length]] = blob[begin + name_length : position]
    return found


def pairs_of(blob: bytes | None) -> Pairs | None:
    """Return the attributes as they travel with an object; None: there never were any.

    Access control lists stay here: nobody else would know whom they name.
    """
    return None if blob is None else tuple(pair for pair in unpacked(blob).items() if pair[0].startswith(_TRAVEL))


def row_of(pairs: Pairs | None) -> bytes | None:
    """Return what a row keeps of the attributes that an object told."""
    return None if pairs is None else packed(dict(pairs))
