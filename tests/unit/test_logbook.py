"""What a next process finds of a connection: all that was told, nothing that was half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.errors import MountError
from fusecache.fs.left import Left, LeftDirectory, LeftFile
from fusecache.fs.transport.direct.abi import FUSE_UNIQUE_RESEND
from fusecache.fs.transport.direct.handshake import Agreement
from fusecache.fs.transport.direct.logbook import Kind, Logbook, Opened
from fusecache.fs.transport.direct.shown import Shown
from fusecache.types import HandleNo, InodeNo

AGREED = Agreement(40, 1 << 17, 0b1011 | 1 << 37)
MIB = 1 << 20


def opened(number: int, ino: int, *, kind: Kind = Kind.FILE, backing_id: int = 0, unique: int = 2) -> Opened:
    return Opened(kind, os.O_RDWR, backing_id, unique, HandleNo(number), InodeNo(ino))


@pytest.fixture
def logbook() -> Iterator[Logbook]:
    made = Logbook.begin(AGREED)
    yield made
    for fd in made.descriptors:
        os.close(fd)


def next_one(logbook: Logbook) -> Logbook:
    """As the next process reads it."""
    return Logbook.found(*logbook.descriptors)


def test_all_that_was_told_is_found(logbook: Logbook) -> None:
    logbook.opened(opened(1, 10))
    logbook.opened(opened(2, 10, backing_id=7))
    logbook.opened(opened(3, 11, backing_id=7))
    logbook.opened(opened(1, 12, kind=Kind.DIRECTORY))
    logbook.shown(InodeNo(12), [b"a", b"b"])
    logbook.shown(InodeNo(12), [b"c"])
    logbook.closed(Kind.FILE, HandleNo(1))
    found = next_one(logbook)
    assert found.agreement == AGREED
    files = (LeftFile(HandleNo(2), InodeNo(10), os.O_RDWR, True), LeftFile(HandleNo(3), InodeNo(11), os.O_RDWR, True))
    assert found.left() == Left(files, (LeftDirectory(HandleNo(1), InodeNo(12), (b"a", b"b", b"c")),))
    assert found.backing_ids() == [(10, 7), (11, 7)]
    assert found.shown_count(InodeNo(12)) == 3
    found.closed(Kind.DIRECTORY, HandleNo(1))
    found.opened(opened(4, 13))
    assert [each.number for each in next_one(found).left().files] == [4, 2, 3]
    assert next_one(found).left().directories == ()


def test_who_has_a_directory_open_shares_its_names(logbook: Logbook) -> None:
    for number in (1, 2):
        logbook.opened(opened(number, 12, kind=Kind.DIRECTORY))
    logbook.shown(InodeNo(12), [b"a", b"b"])
    logbook.closed(Kind.DIRECTORY, HandleNo(1))
    found = next_one(logbook)
    assert found.left().directories == (LeftDirectory(HandleNo(2), InodeNo(12), (b"a", b"b")),)
    found.closed(Kind.DIRECTORY, HandleNo(2))
    assert next_one(found).shown_count(InodeNo(12)) == 0


def test_names_that_a_kill_left_of_a_closed_directory_are_not_those_of_its_next_listing(logbook: Logbook) -> None:
    logbook.shown(InodeNo(12), [b"a", b"b"])
    assert next_one(logbook).shown_count(InodeNo(12)) == 0


def test_who_is_asked_again_finds_what_was_opened_for_it(logbook: Logbook) -> None:
    logbook.opened(opened(1, 10, unique=100))
    found = next_one(logbook)
    assert found.unanswered(100) is None  # a request of that number for the first time: they begin anew some day
    before = found.unanswered(100 | FUSE_UNIQUE_RESEND)
    assert before is not None
    assert before.number == 1
    found.opened(opened(2, 10, unique=100 | FUSE_UNIQUE_RESEND))
    found.closed(Kind.FILE, HandleNo(1))
    assert found.unanswered(100 | FUSE_UNIQUE_RESEND) is None
    again = next_one(found).unanswered(100 | FUSE_UNIQUE_RESEND)  # and that was not answered either
    assert again is not None
    assert again.number == 2


@given(at=st.integers(64, 64 * 4 - 1), value=st.integers(0, 255))
def test_a_slot_that_is_not_whole_is_empty(at: int, value: int) -> None:
    logbook = Logbook.begin(AGREED)
    handles, names = logbook.descriptors
    try:
        for number in (1, 2, 3):
            logbook.opened(opened(number, number))
        before = os.pread(handles, 1, at)
        os.pwrite(handles, bytes([value]), at)
        numbers = [each.number for each in next_one(logbook).left().files]
        is_padding = at % 64 >= 44
        assert numbers == [n for n in (1, 2, 3) if n != at // 64 or is_padding or before == bytes([value])]
    finally:
        os.close(handles)
        os.close(names)


def test_something_else_is_no_logbook(logbook: Logbook) -> None:
    handles, names = logbook.descriptors
    os.pwrite(handles, b"fusecac0", 0)
    with pytest.raises(MountError, match="not understood"):
        Logbook.found(handles, names)
    with pytest.raises(MountError, match="not understood"):
        Logbook.found(names, handles)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.integers(1, 4), st.lists(st.binary(min_size=1, max_size=9).filter(lambda n: 0 not in n))),
            st.tuples(st.integers(1, 4), st.none()),
            st.tuples(st.just(0), st.none()),
        )
    )
)
def test_names_are_those_of_open_directories(steps: list[tuple[int, list[bytes] | None]]) -> None:
    """0: the process is killed, and another goes on."""
    fd = os.memfd_create("names")
    shown, expected = Shown(fd), dict[InodeNo, list[bytes]]()
    try:
        for number, names in steps:
            if not number:
                shown = Shown(fd)
            elif names is None:
                shown.closed(InodeNo(number))
                expected.pop(InodeNo(number), None)
            else:
                shown.add(InodeNo(number), names)
                expected.setdefault(InodeNo(number), []).extend(names)
            live = {number: names for number, names in expected.items() if names}
            assert {each: names for each, names in Shown(fd).found().items() if each in live} == live
            assert all(shown.count(InodeNo(each)) == len(expected.get(InodeNo(each), [])) for each in range(1, 5))
    finally:
        os.close(fd)


def test_the_names_of_closed_directories_take_no_memory_for_long() -> None:
    fd = os.memfd_create("names")
    try:
        shown = Shown(fd)
        names = [b"x" * 200] * 100
        shown.add(InodeNo(1), [b"kept"])
        for number in range(2, 1000):
            shown.add(InodeNo(number), names)
            shown.closed(InodeNo(number))
        assert os.fstat(fd).st_blocks * 512 < 4 * MIB
        assert Shown(fd).found()[InodeNo(1)] == [b"kept"]
        shown.closed(InodeNo(1))
        assert Shown(fd).found() == {}
    finally:
        os.close(fd)


def test_half_a_record_at_the_end_is_none() -> None:
    fd = os.memfd_create("names")
    try:
        shown = Shown(fd)
        shown.add(InodeNo(1), [b"a", b"b"])
        whole = os.fstat(fd).st_size
        shown.add(InodeNo(1), [b"c" * 100])
        os.ftruncate(fd, whole + 50)
        found = Shown(fd)
        assert found.found() == {1: [b"a", b"b"]}
        found.add(InodeNo(1), [b"d"])
        assert Shown(fd).found() == {1: [b"a", b"b", b"d"]}
    finally:
        os.close(fd)


def test_killed_while_the_log_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each of its writes: nothing is lost, and nothing is there twice."""
    real = os.pwrite
    for nth in range(1, 20):
        fd, left = os.memfd_create("names"), [nth]

        def pwrite(fd: int, data: bytes, offset: int, left: list[int] = left) -> int:
            left[0] -= 1
            if left[0] < 0:
                raise InterruptedError
            return real(fd, data, offset)

        shown = Shown(fd)
        for number in (1, 2):
            shown.add(InodeNo(number), [b"a%d" % number, b"b"])
        shown.add(InodeNo(3), [b"x" * 2000] * 1000)
        with monkeypatch.context() as patched, suppress(InterruptedError):
            patched.setattr(os, "pwrite", pwrite)
            shown.closed(InodeNo(3))
        found = Shown(fd).found()
        assert {number: found[InodeNo(number)] for number in (1, 2)} == {1: [b"a1", b"b"], 2: [b"a2", b"b"]}
        os.close(fd)
        if left[0] > 0:
            assert nth > 4, "there was nothing to be written anew"
            return
    raise AssertionError("it never came to its end")
