"""What applications expect of a file system, by real system calls: names, locks, mappings, special files."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.mount.harness import Mount, Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

LATER = ("--persist-delay", "1h")
GIB = 1 << 30
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def mount(mounts: Mounts, directory_store: Store) -> Mount:
    return mounts(directory_store, *LATER)


def refusal(call: Callable[..., object], *arguments: object) -> str:
    """Return the errno's name."""
    with pytest.raises(OSError) as caught:
        call(*arguments)
    return errno.errorcode[caught.value.errno or 0]


def renameat2(old: Path, new: Path, flags: int) -> None:
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def elsewhere(code: str, *arguments: str | Path) -> str:
    """Run Python in another process, and return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()


# --- names ---


def test_rename_flags(mount: Mount) -> None:
    a, b, d = (mount.path / name for name in "abd")
    a.write_bytes(b"A")
    b.write_bytes(b"B")
    d.mkdir()
    assert refusal(renameat2, a, b, RENAME_NOREPLACE) == "EEXIST"
    assert refusal(renameat2, a, b, RENAME_WHITEOUT) == "EINVAL"
    assert refusal(renameat2, a, mount.path / "absent", RENAME_EXCHANGE) == "ENOENT"
    renameat2(a, b, RENAME_EXCHANGE)
    renameat2(a, d, RENAME_EXCHANGE)
    assert (b.read_bytes(), d.read_bytes(), os.listdir(a)) == (b"A", b"B", [])
    mount.kill()
    mount.mount()
    assert (b.read_bytes(), d.read_bytes(), os.listdir(a)) == (b"A", b"B", [])


def test_names_are_any_bytes(mount: Mount, directory_store: Store) -> None:
    root = os.fsencode(mount.path)
    names = {b"\xff\xfe", b"n" * 255, b"\xc3\xa4" * 127, b" \t\n", bytes(range(1, 47)), bytes(range(48, 128))}
    for name in names:
        os.mkdir(os.path.join(root, name))
        os.rmdir(os.path.join(root, name))
        Path(os.fsdecode(os.path.join(root, name))).write_bytes(name)
    assert set(os.listdir(root)) == names
    mount.umount("--no-flush")
    mount.mount()
    assert set(os.listdir(root)) == names
    assert all(Path(os.fsdecode(os.path.join(root, name))).read_bytes() == name for name in names)


def test_names_that_are_too_long(mount: Mount) -> None:
    assert refusal((mount.path / ("n" * 256)).write_bytes, b"") == "ENAMETOOLONG"
    assert refusal(os.stat, mount.path / ("n" * 256)) == "ENAMETOOLONG"


def test_a_directory_that_changes_while_it_is_read(mount: Mount) -> None:
    """telldir and seekdir go back to where they were, whatever has come and gone since."""
    directory = mount.path / "d"
    directory.mkdir()
    present = {f"stays{n:04d}" for n in range(500)}
    for name in present | {f"goes{n:04d}" for n in range(500)}:
        (directory / name).touch()
    _libc.opendir.restype = _libc.readdir.restype = ctypes.c_void_p
    _libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(_libc.opendir(os.fsencode(directory)))

    def read(count: int) -> list[str]:
        entries = []
        while count and (entry := _libc.readdir(stream)):
            entries.append(os.fsdecode(ctypes.string_at(entry + 19)))  # d_name of a struct dirent64
            count -= 1
        return entries

    first = read(300)
    position = _libc.telldir(stream)
    second = read(300)
    for n in range(500):
        (directory / f"goes{n:04d}").unlink()
        (directory / f"new{n:04d}").touch()
    _libc.seekdir(stream, ctypes.c_long(position))
    again = read(-1)
    _libc.closedir(stream)
    still = [name for name in second if name in present]
    assert [name for name in again if name in present][: len(still)] == still
    seen = [name for name in first + again if name in present]
    assert sorted(seen) == sorted(present), "each exactly once"


# --- what no store keeps ---


def test_fifos_sockets_and_devices_survive_a_remount(mount: Mount) -> None:
    fifo, device = mount.path / "fifo", mount.path / "device"
    os.mkfifo(fifo, 0o640)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(mount.path / "socket"))
        listener.listen()
        with closing(socket.socket(socket.AF_UNIX)) as client:
            client.connect(str(mount.path / "socket"))
    if os.geteuid() == 0:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        fifo.write_bytes(b"through the kernel")
        assert reader.communicate(timeout=10)[0] == b"through the kernel"
    count = len(os.listdir(mount.path))
    assert mount.facts()["files_local"] == count
    assert mount.flush()["files_left"] == 0
    mount.kill()
    mount.mount()
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert stat.S_ISSOCK((mount.path / "socket").stat().st_mode)
    if os.geteuid() == 0:
        assert device.stat().st_rdev == os.makedev(1, 3)
    assert mount.facts()["files_local"] == count
    assert mount.facts("fifo")["type"] == "other"


# --- extended attributes ---


def test_extended_attributes(mount: Mount) -> None:
    file = mount.path / "a"
    file.write_bytes(b"four")
    os.setxattr(file, "user.x", b"\x00value", os.XATTR_CREATE)
    assert refusal(os.setxattr, file, "user.x", b"", os.XATTR_CREATE) == "EEXIST"
    assert refusal(os.setxattr, file, "user.y", b"", os.XATTR_REPLACE) == "ENODATA"
    assert refusal(os.setxattr, file, "user.big", bytes((64 << 10) + 1)) == "E2BIG"
    assert refusal(os.setxattr, file, f"user.{'n' * 256}", b"") == "ERANGE"
    assert refusal(os.setxattr, file, "user.fusecache.state", b"") == "EPERM"
    assert refusal(os.getxattr, file, "system.posix_acl_access") == "ENOTSUP"
    assert refusal(os.getxattr, file, "security.capability") == "ENODATA"
    buffer = ctypes.create_string_buffer(3)
    assert _libc.getxattr(os.fsencode(file), b"user.x", buffer, 3) == -1
    assert ctypes.get_errno() == errno.ERANGE
    facts = mount.facts("a")
    for name in ("state", "cached_bytes"):
        assert os.getxattr(file, f"user.fusecache.{name}").decode() == str(facts[name])
    mount.kill()
    mount.mount()
    assert os.listxattr(file) == ["user.x"]
    assert os.getxattr(file, "user.x") == b"\x00value"
    mount.flush()
    facts = mount.facts("a")
    for name in ("state", "key", "etag", "cached_bytes"):
        assert os.getxattr(file, f"user.fusecache.{name}").decode() == str(facts[name])


# --- set-id bits, by who has no privileges ---


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    "act",
    [
        "os.write(os.open(path, os.O_WRONLY), b'x')",
        "os.truncate(path, 0)",
        "os.open(path, os.O_WRONLY | os.O_TRUNC)",
        "os.chown(path, -1, 1000)",
    ],
)
def test_set_id_bits_go(mount: Mount, act: str) -> None:
    file = mount.path / "program"
    file.write_bytes(b"x")
    os.chown(file, 1000, 1000)
    file.chmod(0o6755)
    become = "import os, sys; os.chdir(sys.argv[1]); path = 'program'; os.setgid(1000); os.setuid(1000)"
    elsewhere(f"{become}; {act}", mount.path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


# --- what the disk has ---


def test_beyond_4_gib_and_sparse_on_the_cache_disk(mount: Mount) -> None:
    file = mount.path / "sparse"
    before = _used_bytes(mount.cache)
    with file.open("wb") as opened:
        for offset in (0, 5 * GIB + 3):
            opened.seek(offset)
            opened.write(b"here")
    assert file.stat().st_size == 5 * GIB + 7
    with file.open("rb") as opened:
        for offset, expected in ((4 * GIB - 2, bytes(4)), (5 * GIB, b"\0\0\0here")):
            opened.seek(offset)
            assert opened.read(len(expected)) == expected
    os.truncate(file, 6 * GIB)
    mount.kill()
    mount.mount()
    assert file.stat().st_size == 6 * GIB
    assert _used_bytes(mount.cache) - before < 8 << 20, "holes take no space"


def _used_bytes(root: Path) -> int:
    return int(subprocess.run(["du", "-s", "-B1", root], capture_output=True, check=True).stdout.split()[0])


# --- open files ---


def test_appends_of_several_processes_lose_nothing(mount: Mount) -> None:
    code = """
import os, sys
descriptor = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for n in range(200):
    os.write(descriptor, f"{sys.argv[2]} {n:04d}\\n".encode())
"""
    log = mount.path / "log"
    writers = [subprocess.Popen([sys.executable, "-c", code, log, name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    lines = log.read_text().splitlines()
    assert sorted(lines) == [f"{name} {n:04d}" for name in "abc" for n in range(200)]


def test_locks_between_processes(mount: Mount) -> None:
    file = mount.path / "locked"
    file.write_bytes(b"0123456789")
    flock = "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    lockf = "fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, {start})"

    def attempt(lock: str) -> str:
        return elsewhere(
            f"import fcntl, sys; file = open(sys.argv[1], 'r+b')\ntry: {lock}; print('got it')\n"
            "except BlockingIOError: print('held')",
            file,
        )

    with file.open("r+b") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        assert attempt(flock) == "held"
        fcntl.flock(opened, fcntl.LOCK_UN)
        assert attempt(flock) == "got it"
        fcntl.lockf(opened, fcntl.LOCK_EX, 4, 2)
        assert attempt(lockf.format(start=4)) == "held"
        assert attempt(lockf.format(start=7)) == "got it"
    assert attempt(lockf.format(start=4)) == "got it"


def test_shared_and_private_mappings(mount: Mount) -> None:
    file = mount.path / "mapped"
    file.write_bytes(bytes(3 * mmap.PAGESIZE))
    with file.open("r+b") as opened:
        with mmap.mmap(opened.fileno(), 0, flags=mmap.MAP_PRIVATE) as private:
            private[:4] = b"mine"
        with mmap.mmap(opened.fileno(), 0) as shared:
            shared[mmap.PAGESIZE : mmap.PAGESIZE + 4] = b"ours"
            seen = "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)"
            assert elsewhere(f"{seen}; print(m[{mmap.PAGESIZE}:{mmap.PAGESIZE} + 4])", file) == "b'ours'"
            shared.flush()
    expected = bytes(mmap.PAGESIZE) + b"ours" + bytes(2 * mmap.PAGESIZE - 4)
    assert file.read_bytes() == expected
    mount.kill()
    mount.mount()
    assert file.read_bytes() == expected


def test_an_unlinked_open_file_is_a_file(mount: Mount) -> None:
    file = mount.path / "gone"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    file.unlink()
    assert os.pwrite(descriptor, b"0123456789", 0) == 10
    os.close(os.dup(descriptor))  # a FLUSH
    assert (os.fstat(descriptor).st_size, os.fstat(descriptor).st_nlink) == (10, 0)
    os.ftruncate(descriptor, 4)
    os.fchmod(descriptor, 0o600)
    os.fsync(descriptor)
    os.setxattr(descriptor, "user.x", b"1")
    with mmap.mmap(descriptor, 4) as mapped:
        mapped[:1] = b"X"
    with open(f"/proc/self/fd/{descriptor}", "rb") as again:
        assert again.read() == b"X123"
    assert os.pread(descriptor, 100, 0) == b"X123"
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
    os.close(descriptor)
    assert os.listdir(mount.path) == []


def test_a_removed_directory_that_is_still_open(mount: Mount) -> None:
    directory = mount.path / "d"
    directory.mkdir()
    descriptor = os.open(directory, os.O_RDONLY)
    directory.rmdir()
    assert os.fstat(descriptor).st_nlink == 0
    assert os.listdir(descriptor) == []
    assert refusal(lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor)) == "ENOENT"
    os.setxattr(descriptor, "user.a", b"1")
    os.setxattr(descriptor, "user.b", b"2")
    os.removexattr(descriptor, "user.b")
    assert (os.listxattr(descriptor), os.getxattr(descriptor, "user.a")) == (["user.a"], b"1")
    assert refusal(os.getxattr, descriptor, "user.fusecache.state") == "ENODATA"
    os.fchmod(descriptor, 0o711)
    os.utime(descriptor, ns=(1, 2))
    os.fsync(descriptor)
    found = os.fstat(descriptor)
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns) == (0o711, 2)
    os.close(descriptor)


def test_times_to_the_nanosecond(mount: Mount) -> None:
    file = mount.path / "a"
    file.write_bytes(b"x")
    os.utime(file, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
    mount.flush()
    mount.kill()
    mount.mount()
    found = file.stat()
    assert (found.st_atime_ns, found.st_mtime_ns) == (1_234_567_890_123_456_789, 987_654_321_987_654_321)
    os.utime(file)
    assert file.stat().st_mtime_ns > 1_600_000_000_000_000_000


def test_another_mount_reads_what_the_object_tells(mounts: Mounts, any_store: Store) -> None:
    """Through each server: bytes that a header could not hold, and attributes that are gone again."""
    mine = mounts(any_store, *LATER)
    file = mine.path / "a"
    file.write_bytes(b"x")
    values = {"user.Upper.lower_ü": bytes(range(256)), "user.e": b"", "user. &=%": b"a&b=c%20 "}
    for name, value in values.items():
        os.setxattr(file, name, value)
    os.utime(file, ns=(1, 1_234_567_890_123_456_789))
    mine.flush()
    other = mounts(any_store, name="other").path / "a"
    assert {name: os.getxattr(other, name) for name in os.listxattr(other)} == values
    assert other.stat().st_mtime_ns == 1_234_567_890_123_456_789
    for name in values:
        os.removexattr(file, name)
    file.chmod(0o600)
    mine.flush()
    third = mounts(any_store, name="third").path / "a"
    assert os.listxattr(third) == []
    assert stat.S_IMODE(third.stat().st_mode) == 0o600
