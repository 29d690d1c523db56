"""Access control lists: what they do to a mode, and a mode to them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.errors import InvalidArgument
from fusecache.fs import acl
from fusecache.fs.acl import GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Permit, Permits

NOBODY = 0xFFFFFFFF


def permits(user: int, group: int, other: int, *, mask: int | None = None, named: int | None = None) -> Permits:
    found = [Permit(USER_OBJ, user, NOBODY)]
    found += [] if named is None else [Permit(USER, named, 7)]
    found += [Permit(GROUP_OBJ, group, NOBODY)]
    found += [] if mask is None else [Permit(MASK, mask, NOBODY)]
    return (*found, Permit(OTHER, other, NOBODY))


BITS = st.integers(0, 7)
LISTS = st.builds(permits, BITS, BITS, BITS, mask=BITS, named=BITS) | st.builds(permits, BITS, BITS, BITS)


@given(LISTS)
def test_a_list_is_kept_as_the_kernel_gave_it(given_permits: Permits) -> None:
    value = acl.packed(given_permits)
    assert value[:12] == struct.pack("<IHHI", 2, USER_OBJ, given_permits[0].perm, NOBODY)
    assert acl.permits_of(value) == given_permits


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\2\0\0",
        struct.pack("<I", 1),
        acl.packed(permits(7, 5, 5))[:-1],
        acl.packed(permits(7, 5, 5)[:2]),
        acl.packed((*permits(7, 5, 5), Permit(MASK, 7, NOBODY), Permit(MASK, 7, NOBODY))),
    ],
)
def test_what_is_no_list_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidArgument):
        acl.permits_of(value)


def test_a_mode_shows_the_mask_as_the_groups_permissions() -> None:
    assert acl.shown_in(0o104777, permits(6, 4, 0)) == 0o104640
    assert acl.shown_in(0o100777, permits(6, 7, 0, mask=5, named=7)) == 0o100650


def test_a_mode_says_all_of_a_list_that_names_nobody() -> None:
    assert acl.is_mode_only(permits(7, 5, 5))
    assert not acl.is_mode_only(permits(7, 5, 5, mask=7))
    assert not acl.is_mode_only((*permits(7, 5, 5, mask=7), Permit(GROUP, 1, 7)))


def test_a_change_of_the_mode_changes_the_mask() -> None:
    assert acl.with_mode(permits(7, 7, 7, mask=7, named=7), 0o640) == permits(6, 7, 0, mask=4, named=7)
    assert acl.with_mode(permits(7, 7, 7), 0o640) == permits(6, 4, 0)


def test_what_is_inherited_is_no_more_than_both_allow() -> None:
    """As posix_acl_create(9) does."""
    assert acl.inherited(permits(7, 5, 4, mask=6, named=7), 0o100666) == (
        0o100664,
        permits(6, 5, 4, mask=6, named=7),
    )
    assert acl.inherited(permits(7, 5, 0), 0o100666) == (0o100640, permits(6, 4, 0))


@given(LISTS, st.integers(0, 0o777))
def test_a_mode_and_its_list_agree(given_permits: Permits, mode: int) -> None:
    assert acl.shown_in(0, acl.with_mode(given_permits, mode)) == mode
    inherited_mode, permitted = acl.inherited(given_permits, mode)
    assert acl.shown_in(0, permitted) == inherited_mode
    assert not inherited_mode & ~mode
