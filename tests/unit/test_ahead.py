"""What is read for its checksum is sent from memory, where there is room; nothing is sent that was not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fusecache.backends.s3.ahead import Room

CHUNKS = [b"one", b"two", b"three"]
LENGTH = sum(map(len, CHUNKS))


class Counted:
    """A source that counts its passes."""

    length = LENGTH

    def __init__(self, *, error: Exception | None = None) -> None:
        self.passes = 0
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        self.passes += 1
        yield from CHUNKS
        if self._error is not None:
            raise self._error


@pytest.fixture
def room() -> Room:
    return Room(5 * LENGTH)


def test_it_is_read_once_and_each_chunk_leaves_as_it_is_taken(room: Room) -> None:
    source = Counted()
    with room.body(source) as body:
        assert (body.length, body.is_here) == (LENGTH, False)
        assert list(body.ahead()) == CHUNKS
        assert (body.is_here, room.free_bytes) == (True, 4 * LENGTH)
        sent, taken = [], iter(body)
        for chunk in taken:
            sent.append(chunk)
            assert room.free_bytes == 4 * LENGTH + sum(map(len, sent))
        assert (sent, source.passes) == (CHUNKS, 1)
        assert (list(body), source.passes) == (CHUNKS, 2)
    assert room.free_bytes == 5 * LENGTH


def test_a_pass_that_was_left_begins_anew(room: Room) -> None:
    source = Counted()
    with room.body(source) as body:
        list(body.ahead())
        assert next(iter(body)) == CHUNKS[0]
        assert (list(body), source.passes) == (CHUNKS, 2)
        assert room.free_bytes == 5 * LENGTH


def test_what_nobody_reads_ahead_is_not_kept(room: Room) -> None:
    with room.body(Counted()) as body:
        assert (list(body), list(body)) == (CHUNKS, CHUNKS)
        assert room.free_bytes == 5 * LENGTH


def test_where_there_is_no_room_it_is_read_twice(room: Room) -> None:
    room.free_bytes = LENGTH - 1
    source = Counted()
    with room.body(source) as body:
        assert (list(body.ahead()), list(body), source.passes) == (CHUNKS, CHUNKS, 2)
    assert room.free_bytes == LENGTH - 1


def test_one_body_does_not_take_the_room_of_the_others() -> None:
    room, source = Room(4 * LENGTH - 1), Counted()
    with room.body(source) as body:
        assert (list(body.ahead()), list(body), source.passes) == (CHUNKS, CHUNKS, 2)


def test_what_could_not_be_read_leaves_its_room(room: Room) -> None:
    with pytest.raises(OSError, match="rot"), room.body(Counted(error=OSError("rot"))) as body:
        list(body.ahead())
    assert room.free_bytes == 5 * LENGTH


def test_what_could_not_be_sent_leaves_its_room(room: Room) -> None:
    with room.body(Counted()) as body:
        list(body.ahead())
        next(iter(body))
    assert room.free_bytes == 5 * LENGTH
