"""Who waits at the hard mark goes on file by file, and no file keeps the others waiting for ever."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from fusecache.fs.line import Line, Turn
from fusecache.types import InodeNo

A, B, C = map(InodeNo, (1, 2, 3))


def a_line(closed: tuple[InodeNo, ...] = ()) -> Line:
    return Line(is_open=lambda ino: ino not in closed)


def admitted(line: Line, turns: list[Turn], *, room: int, spare: int = 0) -> list[InodeNo]:
    line.admit(room=room, spare=spare)
    return [turn.ino for turn in turns if turn.come.is_set()]


async def test_room_goes_to_who_came_first() -> None:
    line = a_line()
    turns = [line.join(ino, 10) for ino in (B, A, C)]
    assert admitted(line, turns, room=0) == []
    assert admitted(line, turns, room=15) == [B, A]  # as much as before it was known that there is little
    assert admitted(line, turns, room=15) == [B, A]  # their bytes are not on the disk yet
    for turn in turns[:2]:
        line.leave(turn)
    assert admitted(line, turns[2:], room=1) == [C]


async def test_the_first_of_several_goes_beyond() -> None:
    line = a_line()
    turns = [line.join(A, 10)]
    assert admitted(line, turns, room=0, spare=10) == []  # what would it be finished for?
    turns.append(line.join(B, 10))
    assert admitted(line, turns, room=-1, spare=10) == []
    assert admitted(line, turns, room=0, spare=10) == [A]


async def test_what_is_left_of_its_share_is_kept_for_it() -> None:
    line = a_line()
    turns = [line.join(A, 10), line.join(B, 10)]
    assert admitted(line, turns, room=50, spare=50) == [A]
    line.leave(turns[0])
    assert admitted(line, turns[1:], room=40, spare=50) == []  # it is about to go on
    assert A in line
    assert admitted(line, turns[1:], room=41, spare=50) == [B]


async def test_a_file_that_is_closed_loses_its_place_at_once() -> None:
    closed: list[InodeNo] = []
    line = Line(is_open=lambda ino: ino not in closed)
    turns = [line.join(A, 10), line.join(B, 10)]
    assert admitted(line, turns, room=10, spare=50) == [A]
    line.leave(turns[0])
    closed.append(A)
    assert admitted(line, turns[1:], room=1, spare=50) == [B]
    assert A not in line


async def test_so_does_one_that_nobody_goes_on_with(autojump_clock: MockClock) -> None:
    line = a_line()
    turns = [line.join(A, 10), line.join(B, 10)]
    admitted(line, turns, room=10, spare=50)
    line.leave(turns[0])
    assert admitted(line, turns[1:], room=1, spare=50) == []
    await trio.sleep(1)
    assert admitted(line, turns[1:], room=1, spare=50) == [B]


async def test_an_endless_file_lets_the_others_by() -> None:
    """Each has its share, and then it is another's turn."""
    line, had = a_line(), {A: 0, B: 0, C: 0}
    turns = {ino: line.join(ino, 10) for ino in had}
    for _ in range(300):
        line.admit(room=1, spare=50)
        for ino, turn in list(turns.items()):
            if turn.come.is_set():
                had[ino] += 10
                turns[ino] = line.join(ino, 10)
                line.leave(turn)
    assert sum(had.values()) > 2000
    assert max(had.values()) - min(had.values()) <= 60


@pytest.mark.parametrize("spare", [0, 50])
async def test_one_alone_goes_whenever_there_is_room(spare: int) -> None:
    line = a_line()
    for _ in range(20):
        turn = line.join(A, 10)
        for _ in range(2):  # of which one may only send it to the end
            line.admit(room=1, spare=spare)
        assert turn.come.is_set()
        line.leave(turn)
        assert len(line) == 0
        assert A not in line
