"""What the two sides of /dev/fuse agree on, and the sizes of what they exchange."""

from __future__ import annotations

from struct import Struct

import pytest

from fusecache.errors import MountError
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.handshake import agree

WRITEBACK_CACHE = 1 << 16
ALL = (1 << 32) - 1


def init(*, major: int = 7, minor: int = 45, flags: int = ALL, flags2: int = ALL) -> memoryview:
    return memoryview(abi.fuse_init_in.pack(major, minor, 1 << 17, flags) + flags2.to_bytes(4, "little") + bytes(44))


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        (abi.fuse_in_header, 40),
        (abi.fuse_out_header, 16),
        (abi.fuse_init_out, 64),
        (abi.fuse_attr, 88),
        (abi.fuse_entry_out, 40),
        (abi.fuse_attr_out, 16),
        (abi.fuse_setattr_in, 88),
        (abi.fuse_read_in, 40),
        (abi.fuse_write_in, 40),
        (abi.fuse_open_out, 16),
        (abi.fuse_create_in, 16),
        (abi.fuse_release_in, 24),
        (abi.fuse_flush_in, 24),
        (abi.fuse_dirent, 24),
        (abi.fuse_kstatfs, 80),
    ],
)
def test_structures_have_the_kernels_sizes(layout: Struct, size: int) -> None:
    assert layout.size == size


def test_no_more_is_taken_than_was_offered() -> None:
    assert agree(init(flags=abi.FUSE_ASYNC_READ), may_back=True).features == abi.FUSE_ASYNC_READ
    assert agree(init(flags=0), may_back=True).features == 0


def test_a_write_that_returned_is_never_only_in_the_kernels_memory() -> None:
    assert not agree(init(), may_back=True).features & WRITEBACK_CACHE


def test_only_root_registers_files() -> None:
    assert agree(init(), may_back=True).backs
    assert not agree(init(), may_back=False).backs
    assert not agree(init(flags2=0), may_back=True).backs


def test_the_older_of_both_versions_counts() -> None:
    assert agree(init(minor=31), may_back=True).minor == 31
    assert agree(init(minor=99), may_back=True).minor == abi.FUSE_KERNEL_MINOR_VERSION


@pytest.mark.parametrize("body", [init(minor=30), init(major=8), init()[:8]])
def test_another_protocol_is_refused(body: memoryview) -> None:
    with pytest.raises(MountError):
        agree(body, may_back=True)


def test_an_old_kernel_sends_no_second_flags() -> None:
    assert agree(init(minor=35, flags=abi.FUSE_ASYNC_READ)[: abi.fuse_init_in.size], may_back=False).minor == 35
