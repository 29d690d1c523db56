"""Attributes as metadata, and back: what one mount writes another one reads."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.backends.metadata import XATTRS, all_fit, attributes_of, metadata_of
from fusecache.namespace.xattrs import packed, pairs_of, row_of, unpacked
from fusecache.types import Attributes, ETag, ObjectInfo, ObjectKey

NAMES = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name).map(lambda name: b"user." + name)
XATTRS_OF_AN_INODE = st.dictionaries(NAMES, st.binary(max_size=60), max_size=5)
MODE = stat.S_IFREG | 0o640


def round_trip(attributes: Attributes) -> Attributes:
    metadata = metadata_of(attributes, upload_id="x" * 90)
    assert all(value.isascii() and value.isprintable() and value for value in metadata.values())
    info = ObjectInfo(ObjectKey("k"), 1, ETag("e"), 5, metadata)
    return attributes_of(info, uid=1, gid=2, file_mode=0o600)


@given(xattrs=XATTRS_OF_AN_INODE, mtime_ns=st.integers(-(10**18), 4 * 10**18))
def test_what_fits_comes_back(xattrs: dict[bytes, bytes], mtime_ns: int) -> None:
    attributes = Attributes(MODE, 7, 8, mtime_ns, None, tuple(sorted(xattrs.items())))
    assert all_fit(attributes.xattrs or ())
    assert round_trip(attributes) == attributes


@given(xattrs=st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8))
def test_what_does_not_fit_is_left_out(xattrs: dict[bytes, bytes]) -> None:
    pairs = tuple(sorted(xattrs.items()))
    attributes = Attributes(MODE, (1 << 32) - 1, (1 << 32) - 1, 4 * 10**18, None, pairs)
    metadata = metadata_of(attributes, upload_id="x" * 120)
    assert sum(len(f"x-amz-meta-{name}{value}") for name, value in metadata.items()) <= 2048
    told = round_trip(attributes).xattrs or ()
    assert set(told) <= set(pairs)
    assert (told == pairs) == all_fit(pairs)


def test_none_and_none_any_more_are_two_things() -> None:
    never, removed = Attributes(MODE, 0, 0, 0), Attributes(MODE, 0, 0, 0, None, ())
    assert XATTRS not in metadata_of(never)
    assert metadata_of(removed)[XATTRS], "a copy lays it over what the source tells"
    assert (round_trip(never), round_trip(removed)) == (never, removed)


@pytest.mark.parametrize("mtime_ns", [1, -1, 1_234_567_890_123_456_789, -1_000_000_001])
def test_times_keep_their_nanoseconds(mtime_ns: int) -> None:
    assert round_trip(Attributes(MODE, 0, 0, mtime_ns)).mtime_ns == mtime_ns


@given(xattrs=XATTRS_OF_AN_INODE)
def test_a_row_keeps_them_all(xattrs: dict[bytes, bytes]) -> None:
    blob = packed(xattrs)
    assert unpacked(blob) == xattrs
    assert row_of(pairs_of(blob)) == blob
    assert (pairs_of(None), row_of(None), unpacked(None)) == (None, None, {})
