"""Access control lists as attributes that are part of the mode: set, changed by a chmod, inherited, and kept here."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from fusecache.errors import InvalidArgument, Unsupported
from fusecache.fs import acl
from fusecache.fs.transport.direct import abi
from fusecache.fs.transport.direct.abi import Opcode
from fusecache.fs.transport.direct.handshake import Agreement
from fusecache.fs.transport.direct.logbook import Logbook
from fusecache.namespace.tree import Owner
from fusecache.namespace.xattrs import pairs_of
from tests.fs.harness import World
from tests.fs.kernel import a_kernel
from tests.unit.test_acl import permits

READS = acl.packed(permits(6, 4, 0, mask=4, named=4))


@pytest.fixture
async def kept(world: World) -> World:
    world.fs.xattrs.keep_acls()
    await world.write_file("f", b"")
    await world.mkdir("d")
    return world


async def mode_of(world: World, path: str) -> int:
    return stat.S_IMODE((await world.stat(path)).mode)


async def made(world: World, path: str, kind: int, mode: int, umask: int) -> None:
    place, owner = await world.place(path), Owner(kind | mode, 1000, 1000, umask)
    if kind == stat.S_IFDIR:
        await world.fs.mkdir(place, owner)
    elif kind == stat.S_IFIFO:
        await world.fs.mknod(place, owner, 0)
    else:
        number, _ = await world.fs.create(place, owner, os.O_WRONLY)
        world.fs.release(number)


async def test_a_list_changes_the_mode_and_a_mode_the_list(kept: World) -> None:
    await kept.setxattr("f", acl.ACCESS, READS)
    assert await mode_of(kept, "f") == 0o640
    assert await kept.xattrs("f") == {acl.ACCESS: READS}
    await kept.setattr("f", mode=0o100777)
    assert await kept.getxattr("f", acl.ACCESS) == acl.packed(permits(7, 4, 7, mask=7, named=4))
    await kept.setattr("f", uid=1)
    assert await kept.getxattr("f", acl.ACCESS) == acl.packed(permits(7, 4, 7, mask=7, named=4))


async def test_a_list_that_names_nobody_is_the_mode(kept: World) -> None:
    await kept.setxattr("f", acl.ACCESS, READS)
    await kept.setxattr("f", acl.ACCESS, acl.packed(permits(7, 0, 1)))
    assert await mode_of(kept, "f") == 0o701
    assert await kept.xattrs("f") == {}
    await kept.fs.xattrs.remove((await kept.stat("f")).ino, acl.ACCESS)


async def test_who_may_not_keep_the_set_group_id_bit(kept: World) -> None:
    await kept.setattr("f", mode=0o102755)
    ino = (await kept.stat("f")).ino
    await kept.fs.xattrs.set(ino, acl.ACCESS, READS)
    assert await mode_of(kept, "f") == 0o2640
    await kept.fs.xattrs.set(ino, acl.ACCESS, READS, drops_set_gid=True)
    assert await mode_of(kept, "f") == 0o640


async def test_what_a_directory_says_is_inherited_in_place_of_the_umask(kept: World) -> None:
    default = acl.packed(permits(7, 5, 0, mask=7, named=6))
    await kept.setxattr("d", acl.DEFAULT, default)
    await made(kept, "d/f", stat.S_IFREG, 0o666, 0o077)
    await made(kept, "d/p", stat.S_IFIFO, 0o666, 0o077)
    await made(kept, "d/d", stat.S_IFDIR, 0o777, 0o077)
    await kept.symlink("f", "d/l")
    for name in ("d/f", "d/p"):
        assert await mode_of(kept, name) == 0o660
        assert await kept.xattrs(name) == {acl.ACCESS: acl.packed(permits(6, 5, 0, mask=6, named=6))}
    assert await mode_of(kept, "d/d") == 0o770
    assert await kept.xattrs("d/d") == {acl.ACCESS: default, acl.DEFAULT: default}
    assert await kept.xattrs("d/l") == {}


async def test_the_umask_counts_where_nothing_is_inherited(kept: World) -> None:
    await made(kept, "d/f", stat.S_IFREG, 0o666, 0o027)
    assert await mode_of(kept, "d/f") == 0o640
    await kept.setxattr("d", acl.DEFAULT, acl.packed(permits(7, 7, 0)))
    await made(kept, "d/g", stat.S_IFREG, 0o666, 0o027)
    assert await mode_of(kept, "d/g") == 0o660
    assert await kept.xattrs("d/g") == {}


async def test_a_file_without_a_name_inherits_too(kept: World) -> None:
    await kept.setxattr("d", acl.DEFAULT, acl.packed(permits(7, 5, 0, mask=7, named=6)))
    owner = Owner(stat.S_IFREG | 0o666, 1000, 1000, 0o077)
    number, entry = await kept.fs.tmpfile((await kept.stat("d")).ino, owner, os.O_RDWR)
    assert stat.S_IMODE(entry.inode.mode) == 0o660
    assert await kept.fs.xattrs.list(entry.inode.ino) == [acl.ACCESS]
    kept.fs.release(number)


async def test_without_lists_there_are_none(world: World) -> None:
    await world.write_file("f", b"")
    with pytest.raises(Unsupported):
        await world.setxattr("f", acl.ACCESS, READS)
    with pytest.raises(Unsupported):
        await world.getxattr("f", acl.ACCESS)


async def test_what_is_no_list_changes_nothing(kept: World) -> None:
    with pytest.raises(InvalidArgument):
        await kept.setxattr("f", acl.ACCESS, b"rwx")
    assert (await mode_of(kept, "f"), await kept.xattrs("f")) == (0o644, {})


async def test_the_kernel_says_who_may_not_keep_the_bit(kept: World) -> None:
    features = abi.FUSE_POSIX_ACL | abi.FUSE_SETXATTR_EXT
    await kept.setattr("f", mode=0o102755)
    async with a_kernel(kept, logbook=Logbook.begin(Agreement(45, 1 << 17, features))) as kernel:
        ino = await kernel.lookup(b"f")
        head = abi.fuse_setxattr_in_ext.pack(len(READS), 0, abi.FUSE_SETXATTR_ACL_KILL_SGID, 0)
        await kernel.told(Opcode.SETXATTR, ino, head + acl.ACCESS + b"\0" + READS)
        assert (await kernel.ask(Opcode.SETXATTR, ino, head[:-1]))[0] == errno.EIO
        body = abi.fuse_create_in.pack(os.O_WRONLY, 0o100666, 0o027, 0) + b"g\0"
        await kernel.told(Opcode.CREATE, body=body)
    assert (await mode_of(kept, "f"), await mode_of(kept, "g")) == (0o640, 0o640)


async def test_a_list_is_not_sent(kept: World) -> None:
    """Nobody else would know whom it names."""
    await kept.setxattr("f", b"user.a", b"1")
    await kept.setxattr("f", acl.ACCESS, READS)
    assert pairs_of((await kept.stat("f")).xattrs) == ((b"user.a", b"1"),)
