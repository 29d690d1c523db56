"""How much writers are slowed: not at all up to the soft mark, as the drain needs halfway, then more and more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.fs.pressure import MAX_PAUSE_S, Levels, Limits, Pressure, delay_s, pressure_of

GIB = 1 << 30
MIB = 1 << 20
_bytes = st.integers(0, 1 << 50)


def at(free: int, used: int = 0, dirty: int = 0, local: int = 0, limits: Limits | None = None) -> Pressure:
    return pressure_of(Levels(free, used, dirty, local), limits or Limits())


@pytest.mark.parametrize(
    ("free", "used", "ratio", "strain"),
    [
        (100 * GIB, 0, None, 0.0),
        (10 * GIB, 90 * GIB, None, 0.0),  # a tenth: the soft mark
        (7.5 * GIB, 92.5 * GIB, None, 0.5),
        (5 * GIB, 95 * GIB, None, 1.0),  # half of it: the hard mark
        (0, 100 * GIB, None, 1.0),
        (32 * GIB, 10_000 * GIB, None, 0.0),  # of a large disk not a tenth
        (16 * GIB, 10_000 * GIB, None, 1.0),
        (5 * GIB, 0, None, 0.0),  # others have the rest of it: what is free is all there is
        (15 * GIB, 85 * GIB, 0.2, 0.5),
        (1, 100 * GIB, 0.0, 0.0),  # nothing is to be kept free
        (0, 100 * GIB, 0.0, 1.0),
        (0, 0, None, 1.0),  # others have filled it
    ],
)
def test_the_disk_has_a_soft_and_a_hard_mark(free: float, used: float, ratio: float | None, strain: float) -> None:
    limits = Limits(free_space_ratio=ratio)
    assert at(int(free), int(used), limits=limits).strain == pytest.approx(strain, abs=1e-6)


@pytest.mark.parametrize(("dirty", "strain"), [(0, 0.0), (80, 0.0), (90, 0.5), (100, 1.0), (500, 1.0)])
def test_so_have_the_bytes_that_the_store_lacks(dirty: int, strain: float) -> None:
    limits = Limits(dirty_limit=100 * MIB)
    assert at(100 * GIB, dirty=dirty * MIB, limits=limits).strain == pytest.approx(strain)


def test_without_a_limit_they_have_none() -> None:
    assert at(100 * GIB, used=900 * GIB, dirty=900 * GIB).strain == 0


def test_bytes_that_stay_here_count_on_the_disk_only() -> None:
    limits = Limits(dirty_limit=100 * MIB)
    assert at(100 * GIB, used=GIB, local=GIB, limits=limits).strain == 0
    assert at(GIB, used=99 * GIB, local=99 * GIB, limits=limits).strain == 1


def test_up_to_the_soft_mark_is_known() -> None:
    assert at(30 * GIB, 70 * GIB).to_soft == 20 * GIB
    assert at(30 * GIB, 70 * GIB, dirty=50 * MIB, limits=Limits(dirty_limit=100 * MIB)).to_soft == 30 * MIB
    assert at(GIB, 99 * GIB).to_soft == 0


def test_clean_files_go_before_any_writer_is_slowed() -> None:
    assert at(13 * GIB, 87 * GIB).to_release == 0
    near = at(11 * GIB, 89 * GIB)
    assert near.strain == 0
    assert near.to_release == pytest.approx(1.5 * GIB)


def test_what_is_clean_can_be_written_again() -> None:
    assert at(50 * GIB, 50 * GIB, dirty=10 * GIB, local=5 * GIB).writable == (50 + 35 - 5) * GIB
    assert at(50 * GIB, dirty=10 * MIB, limits=Limits(dirty_limit=100 * MIB)).writable == 90 * MIB
    assert at(0, 10 * GIB, dirty=99 * GIB).writable == 0


def test_the_cache_has_marks_of_its_own_inside_its_size() -> None:
    """Clean contents go beyond 93.75 % of it, until 90 % are left, whatever the disk has."""
    limits = Limits(cache_size=100 * GIB)
    assert at(900 * GIB, 93 * GIB, limits=limits).to_release == 0
    assert at(900 * GIB, 94 * GIB, limits=limits).to_release == 4 * GIB
    assert at(900 * GIB, 120 * GIB, limits=limits).to_release == 30 * GIB


def test_what_the_store_lacks_keeps_to_it_if_somebody_said_how_much() -> None:
    for is_said, strain in ((True, 0.5), (False, 0.0)):
        limits = Limits(cache_size=1000 * GIB, bounds_writers=is_said)
        here = at(9000 * GIB, 962.5 * GIB, dirty=962 * GIB, limits=limits)  # type: ignore[arg-type] # exact
        assert here.strain == pytest.approx(strain)
        assert (here.by_disk, here.by_cache) == (0.0, pytest.approx(strain))
        assert at(9000 * GIB, 1001 * GIB, limits=limits).strain == (1.0 if is_said else 0.0)


def test_what_it_does_not_bound_drives_nothing_clean_out() -> None:
    limits = Limits(cache_size=100 * GIB)
    assert at(900 * GIB, 190 * GIB, dirty=90 * GIB, local=10 * GIB, limits=limits).to_release == 0
    assert at(900 * GIB, 190 * GIB, dirty=80 * GIB, local=10 * GIB, limits=limits).to_release == 10 * GIB


def test_halfway_writers_are_as_fast_as_the_drain() -> None:
    assert delay_s(10 * MIB, strain=0.5, drain_per_s=100 * MIB) == pytest.approx(0.1)
    assert delay_s(10 * MIB, strain=0.0, drain_per_s=100 * MIB) == 0
    assert delay_s(1, strain=1.0, drain_per_s=100 * MIB) == MAX_PAUSE_S


def test_a_dead_store_makes_writers_slow_and_does_not_stop_them() -> None:
    assert delay_s(MIB, strain=0.5, drain_per_s=0.0) == pytest.approx(1.0)


@given(free=_bytes, used=_bytes, dirty=_bytes, local=_bytes, limit=st.none() | st.integers(MIB, 1 << 50))
def test_more_room_never_means_more_strain(free: int, used: int, dirty: int, local: int, limit: int | None) -> None:
    limits = Limits(dirty_limit=limit)
    here = at(free, used, dirty, local, limits)
    assert 0 <= here.strain <= 1
    assert (here.to_soft == 0) or here.strain == 0
    assert at(free + GIB, max(0, used - GIB), dirty, local, limits).strain <= here.strain or used < GIB
    assert at(free, used, dirty + GIB, local, limits).strain >= here.strain


@given(strain=st.floats(0, 0.99), more=st.floats(0, 0.009), count=st.integers(1, MIB), rate=st.floats(0, 1e12))
def test_the_delay_grows_with_strain_and_bytes(strain: float, more: float, count: int, rate: float) -> None:
    here = delay_s(count, strain=strain, drain_per_s=rate)
    assert delay_s(count, strain=strain + more, drain_per_s=rate) >= here
    assert delay_s(2 * count, strain=strain, drain_per_s=rate) == pytest.approx(2 * here)
    assert delay_s(count, strain=strain, drain_per_s=2 * rate) <= here


@given(free=st.integers(0, 100), used=st.integers(0, 100), size=st.none() | st.integers(1, 100))
def test_what_is_fetched_within_the_room_makes_nothing_go(free: int, used: int, size: int | None) -> None:
    limits = Limits(cache_size=None if size is None else size * MIB)
    before = at(free * MIB, used * MIB, limits=limits)
    filled = at(free * MIB - before.room, used * MIB + before.room, limits=limits)
    assert filled.room == 0
    assert filled.to_release == (before.to_release if not before.room else 0)
    assert filled.capacity == before.capacity
    assert before.capacity == before.room + used * MIB or not before.room
