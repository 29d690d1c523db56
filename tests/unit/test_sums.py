"""What is known of a file's blocks without reading them is right, whatever was done to the file."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from fusecache.cache import sums
from fusecache.cache.sums import Sums, fits, is_complete, sum_of

S = 16
"""Small blocks, for the model."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "SUM_BYTES", S)
    monkeypatch.setattr(sums, "_ZEROS", xxhash.xxh3_64_intdigest(bytes(S)))


def begun(size: int, packed: bytes | None = None) -> Sums:
    tracked = Sums()
    tracked.begin(size, packed)
    return tracked


def right(data: bytes | bytearray) -> list[int]:
    return [xxhash.xxh3_64_intdigest(bytes(data[at : at + S])) for at in range(0, len(data) or 1, S)]


def known(tracked: Sums, count: int) -> list[int | None]:
    packed = tracked.packed()
    assert packed is not None
    return [sum_of(packed, n) for n in range(count)]


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 70), st.binary(max_size=50)),
        st.tuples(st.just("append"), st.just(0), st.binary(max_size=50)),
        st.tuples(st.just("cut"), st.integers(0, 90), st.just(b"")),
        st.tuples(st.just("look"), st.just(0), st.just(b"")),
    ),
    max_size=12,
)


@given(initial=st.binary(max_size=60), changes=CHANGES)
def test_what_is_known_is_right(initial: bytes, changes: list[tuple[str, int, bytes]]) -> None:
    with patch.object(sums, "SUM_BYTES", S):
        data, tracked = bytearray(initial), begun(len(initial))
        for kind, number, body in changes:
            if kind == "look":
                tracked.packed()
                continue
            if kind == "cut":
                data[number:] = bytes(max(0, number - len(data)))
                tracked.cut(number)
            else:
                offset = len(data) if kind == "append" else number
                if body:
                    data.extend(bytes(max(0, offset - len(data))))
                    data[offset : offset + len(body)] = body
                    tracked.wrote(offset, body)
            wanted = right(data)
            found = known(tracked, len(wanted))
            assert all(value in (None, right_one) for value, right_one in zip(found, wanted, strict=True))
            assert [n for n, value in enumerate(found) if value is None] == tracked.unknown()
            packed = tracked.packed()
            assert packed is not None
            assert fits(packed, len(data))


@given(pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=8))
def test_all_of_a_file_that_is_written_in_order(pieces: list[bytes]) -> None:
    with patch.object(sums, "SUM_BYTES", S):
        data, tracked = b"".join(pieces), begun(0)
        offset = 0
        for piece in pieces:
            tracked.wrote(offset, piece)
            offset += len(piece)
        assert known(tracked, len(right(data))) == right(data)
        packed = tracked.packed()
        assert packed is not None
        assert is_complete(packed)


def test_a_block_that_is_written_anew_from_its_start() -> None:
    tracked = begun(3 * S)
    tracked.wrote(S, b"x" * S)
    assert known(tracked, 3) == [None, xxhash.xxh3_64_intdigest(b"x" * S), None]


def test_holes_are_known() -> None:
    tracked = begun(0)
    tracked.cut(3 * S)
    assert known(tracked, 3) == [xxhash.xxh3_64_intdigest(bytes(S))] * 3


def test_what_was_packed_is_gone_on_with() -> None:
    first = begun(0)
    first.wrote(0, b"a" * (S + 2))
    again = begun(S + 2, first.packed())
    again.wrote(0, b"b" * S)
    assert known(again, 2) == right(b"b" * S + b"aa")


def test_what_fits_another_size_is_not_believed() -> None:
    first = begun(0)
    first.wrote(0, b"a" * (S + 2))
    assert known(begun(S, first.packed()), 1) == [None]


def test_what_was_read_is_noted() -> None:
    tracked = begun(2 * S)
    tracked.put({1: 7, 5: 9})
    assert known(tracked, 2) == [None, 7]


def test_a_file_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MAX_SUMS", 4)
    tracked = begun(0)
    tracked.cut(5 * S)
    tracked.wrote(5 * S, b"x")
    assert tracked.packed() is None
    assert tracked.unknown() == []
    tracked.cut(0)
    tracked.wrote(0, b"x")
    assert known(tracked, 1) == right(b"x")
    assert begun(5 * S).packed() is None
