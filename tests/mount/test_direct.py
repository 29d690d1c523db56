"""What the direct transport answers and pyfuse3 has no method for, by real system calls."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Servers, new_bucket, use_server
from tests.mount.calls import pattern
from tests.mount.harness import Mount, Mounts, Store, s3_store, soon, tree
from tests.mount.test_passthrough import AT_ONCE, DIRECT, MIB, is_same

pytestmark = [pytest.mark.mount, pytest.mark.slow]

FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR = 0x80086601, 0x801C581F
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def mount(mounts: Mounts, directory_store: Store) -> Mount:
    return mounts(directory_store, *DIRECT, *AT_ONCE)


def give_name(file: int, path: Path) -> None:
    """As open(2) says; os.link() does not follow."""
    if _libc.linkat(AT_FDCWD, b"/proc/self/fd/%d" % file, AT_FDCWD, os.fsencode(path), AT_SYMLINK_FOLLOW):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def test_a_file_without_a_name_and_then_with_one(mount: Mount, directory_store: Store) -> None:
    for number in range(3):
        file = os.open(mount.path, os.O_TMPFILE | os.O_RDWR, 0o640)
        try:
            os.write(file, b"nobody sees it")
            assert os.fstat(file).st_nlink == 0
            assert len(os.listdir(mount.path)) == number
            give_name(file, mount.path / str(number))
            os.write(file, b", until now")
            assert os.fstat(file).st_nlink == 1
        finally:
            os.close(file)
    never = os.open(mount.path, os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    with pytest.raises(FileNotFoundError):
        give_name(never, mount.path / "never")
    os.close(never)
    is_same(mount, directory_store)
    assert directory_store.objects() == {str(number): b"nobody sees it, until now" for number in range(3)}


def test_a_file_without_a_name_is_gone_after_a_kill(mount: Mount) -> None:
    file = os.open(mount.path, os.O_TMPFILE | os.O_RDWR)
    os.write(file, pattern(MIB, 1))
    mount.kill()
    os.close(file)
    mount.mount()
    assert os.listdir(mount.path) == []
    soon(lambda: not [each for each in (mount.cache / "contents").rglob("*") if each.is_file()], "its bytes are kept")


@pytest.mark.parametrize("request_no", [FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR])
def test_requests_to_devices_are_refused_as_by_others(mount: Mount, request_no: int) -> None:
    """As by a file system that has no such flags: chattr(1) and lsattr(1) say so, others do without."""
    (mount.path / "f").write_bytes(b"")
    for path in (mount.path, mount.path / "f"):
        fd = os.open(path, os.O_RDONLY)
        with pytest.raises(OSError) as caught:
            fcntl.ioctl(fd, request_no, bytearray(28))
        assert caught.value.errno == errno.ENOTTY
        os.close(fd)


def test_a_copy_is_the_same_wherever_it_is_copied_from(mount: Mount, directory_store: Store) -> None:
    """By cp(1), of what is here, of what is not, and of what has holes."""
    data = pattern(20 * MIB + 5, 1)
    directory_store.put("cold", data)
    (mount.path / "new").write_bytes(data)
    with (mount.path / "holes").open("wb") as file:
        file.write(b"begin")
        file.seek(20 * MIB)
        file.write(b"end")
    for name in ("cold", "new", "holes"):
        for how in ("auto", "never"):
            target = mount.path / f"{name}-{how}"
            subprocess.run(["cp", f"--reflink={how}", mount.path / name, target], check=True, timeout=60)
            assert target.read_bytes() == (mount.path / name).read_bytes()
    is_same(mount, directory_store)
    assert tree(mount.path)["cold-auto"] == data


@pytest.fixture
def s3(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A server that copies parts of objects."""
    server = use_server(servers, "versitygw", monkeypatch)
    with closing(server.client()) as client:
        yield s3_store(server.name, client, server.endpoint_url, new_bucket(server))


@pytest.mark.parametrize("options", [(), ("--no-passthrough",)], ids=["by itself", "by requests"])
def test_what_the_store_can_copy_is_not_sent(mounts: Mounts, s3: Store, options: tuple[str, ...]) -> None:
    """Of an object of 24 MiB, at 1 MiB/s: its copy, and a change to it."""
    data = pattern(24 * MIB, 1)
    s3.put("big", data)
    mount = mounts(s3, *DIRECT, *AT_ONCE, *options, "--upload-limit", "1M")
    assert (mount.path / "big").read_bytes() == data
    began = time.monotonic()
    subprocess.run(["cp", mount.path / "big", mount.path / "copy"], check=True, timeout=60)
    with (mount.path / "copy").open("r+b") as file:
        os.pwrite(file.fileno(), b"changed", 12 * MIB)
    is_same(mount, s3)
    assert time.monotonic() - began < 20
    assert (mount.path / "copy").read_bytes()[12 * MIB :][:7] == b"changed"


def test_a_directory_is_listed_while_others_change_it(mount: Mount) -> None:
    """Lookups and listings of one directory go on side by side; each name that stays is seen once."""
    stays = {f"stays{number:04d}" for number in range(300)}
    for name in stays:
        (mount.path / name).touch()
    code = """
import os, sys
for number in range(300):
    path = os.path.join(sys.argv[1], f"comes{number % 50}")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.stat(path)
    os.unlink(path)
"""
    with subprocess.Popen([sys.executable, "-c", code, mount.path]) as others:
        until = time.monotonic() + 60
        while others.poll() is None and time.monotonic() < until:
            listed = [name for name in os.listdir(mount.path) if name.startswith("stays")]
            assert sorted(listed) == sorted(stays)
            found = [each.name for each in os.scandir(mount.path) if each.is_file() and each.name in stays]
            assert len(found) == len(stays)
        assert others.wait(10) == 0
    assert set(os.listdir(mount.path)) == stays


def test_attributes_by_every_call_are_the_same(mount: Mount) -> None:
    """statx(2) too, by which stat(1) and ls(1) ask."""
    path = mount.path / "f"
    path.write_bytes(b"x" * 12345)
    os.utime(path, ns=(1_500_000_000_000_000_001, 1_600_000_000_000_000_002))
    found = path.stat()
    told = subprocess.run(
        ["stat", "--cached=never", "-c", "%s %i %a %.9X %.9Y %h", path], capture_output=True, text=True, check=True
    ).stdout.split()
    assert told == ["12345", str(found.st_ino), f"{found.st_mode & 0o7777:o}", *_seconds(found), "1"]
    assert Path(path).stat() == found


def _seconds(found: os.stat_result) -> list[str]:
    return [f"{ns // 10**9}.{ns % 10**9:09d}" for ns in (found.st_atime_ns, found.st_mtime_ns)]
