"""Which RELEASEs wait for others, and what doesn't wait for them."""

from __future__ import annotations

import errno
from typing import cast

import pytest

from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.calls import Calls, Header
from fusecache.fs.transport.direct.closing import Closing
from fusecache.types import HandleNo, InodeNo

MOST = 16


class Rig:
    """Calls that write down what is closed together, and a clock that stands."""

    def __init__(self) -> None:
        self.closed: list[list[int]] = []
        self.answered: list[int] = []
        self.errors: list[int] = []
        self.is_broken = False
        self.now = 0.0
        self.closing = Closing(cast("Calls", self), self._answer, clock=lambda: self.now)

    def release_all(self, numbers: list[HandleNo]) -> None:
        assert not self.answered[sum(map(len, self.closed)) :], "an answer before the deed"
        if self.is_broken:
            raise OSError("of a kind that nobody expects")
        self.closed.append([int(number) for number in numbers])

    def _answer(self, who: Header, number: int, body: bytes) -> None:
        assert body == b""
        self.answered.append(who.unique)
        self.errors.append(number)

    def release(self, number: int) -> None:
        self.closing.put_off(request(Opcode.RELEASE, number, number), HandleNo(number))

    def ask(self, opcode: Opcode, nodeid: int) -> None:
        self.closing.before(request(opcode, nodeid, 0))


def request(opcode: Opcode, nodeid: int, unique: int) -> Header:
    return Header(0, opcode, unique, InodeNo(nodeid), 0, 0, 0, 0, 0)


def test_closes_wait_for_others_and_each_is_answered_after_it_is_done() -> None:
    rig = Rig()
    for number in range(10, 13):
        rig.release(number)
    assert not rig.closed
    assert not rig.answered
    assert rig.closing.carry_out()
    assert rig.closed == [[10, 11, 12]]
    assert rig.answered == [10, 11, 12]
    assert not any(rig.errors)
    assert not rig.closing.carry_out()


def test_no_more_than_a_few_wait() -> None:
    rig = Rig()
    for number in range(MOST + 1):
        rig.release(number)
    assert rig.closed == [list(range(MOST))]


@pytest.mark.parametrize("opcode", [Opcode.LOOKUP, Opcode.GETATTR, Opcode.CREATE, Opcode.OPEN])
def test_what_is_about_others_is_carried_out_at_once(opcode: Opcode) -> None:
    rig = Rig()
    rig.release(10)
    rig.ask(opcode, 1)
    assert not rig.closed


@pytest.mark.parametrize("opcode", [Opcode.OPEN, Opcode.GETATTR, Opcode.SETATTR, Opcode.GETXATTR, Opcode.READ])
def test_what_is_about_the_same_file_finds_it_closed(opcode: Opcode) -> None:
    rig = Rig()
    rig.release(10)
    rig.ask(opcode, 10)
    assert rig.closed == [[10]]


@pytest.mark.parametrize(
    "opcode",
    [Opcode.UNLINK, Opcode.RENAME, Opcode.RENAME2, Opcode.LINK, Opcode.WRITE, Opcode.FSYNC, Opcode.BATCH_FORGET],
)
def test_so_does_what_may_be_about_it_by_its_name_or_its_handle(opcode: Opcode) -> None:
    rig = Rig()
    rig.release(10)
    rig.ask(opcode, 1)
    assert rig.closed == [[10]]


def test_it_ends_however_much_is_asked() -> None:
    rig = Rig()
    rig.release(10)
    rig.now = 0.009
    rig.ask(Opcode.LOOKUP, 1)
    rig.release(11)
    assert not rig.closed
    rig.now = 0.011
    rig.ask(Opcode.LOOKUP, 1)
    assert rig.closed == [[10, 11]]


def test_whatever_happens_each_is_answered_and_nobody_else_harmed(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.is_broken = True
    rig.release(10)
    rig.release(11)
    rig.ask(Opcode.UNLINK, 1)
    assert rig.answered == [10, 11]
    assert rig.errors == [errno.EIO, errno.EIO]
    assert "nobody foresaw" in caplog.text
    rig.is_broken = False
    rig.answered.clear()
    rig.release(12)
    assert rig.closing.carry_out()
    assert rig.closed == [[12]]
