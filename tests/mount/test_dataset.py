"""The main job, on every store: a dataset is written the way committers do it, and the bucket is the tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mount.harness import Mounts, Store, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

PARTS = 20


def part(number: int) -> bytes:
    return b"".join((number << 32 | n).to_bytes(8, "big") for n in range(8 << 10))


def write_dataset(root: Path) -> None:
    """As Spark's FileOutputCommitter: written below _temporary, renamed one by one, then the marker."""
    attempt = root / "table" / "_temporary" / "0" / "attempt_1"
    attempt.mkdir(parents=True)
    for number in range(PARTS):
        (attempt / f"part-{number:05d}").write_bytes(part(number))
        (attempt / f".part-{number:05d}.crc").write_bytes(b"crc")
    for number in range(PARTS):
        (attempt / f"part-{number:05d}").rename(root / "table" / f"part-{number:05d}")
        (attempt / f".part-{number:05d}.crc").unlink()
    attempt.rmdir()
    attempt.parent.rmdir()
    attempt.parent.parent.rmdir()
    (root / "table" / "_SUCCESS").touch()


def test_the_bucket_is_the_tree(any_store: Store, mounts: Mounts) -> None:
    expected = {f"table/part-{n:05d}": part(n) for n in range(PARTS)} | {"table/_SUCCESS": b""}
    mount = mounts(any_store)
    write_dataset(mount.path)
    assert tree(mount.path) == expected
    told = mount.flush()
    assert (told["files_left"], told["stuck"]) == (0, [])
    assert any_store.objects() == expected
    facts = mount.facts()
    assert (facts["files_dirty"], facts["bytes_dirty"], facts["files_local"]) == (0, 0, 0)
    mount.umount()
    assert tree(mounts(any_store, name="second").path) == expected


def test_objects_of_others_are_read(any_store: Store, mounts: Mounts) -> None:
    objects = {"a": b"aa", "d/b": b"b" * 3_000_000, "d/e/c": b"", "Ümläut + %41": b"x"}
    for key, data in objects.items():
        any_store.put(key, data)
    mount = mounts(any_store)
    assert tree(mount.path) == objects
    assert sorted(os.listdir(mount.path)) == sorted({key.partition("/")[0] for key in objects})
    if any_store.head is not None:
        told = any_store.head("a")["LastModified"].timestamp()
        assert int((mount.path / "a").stat().st_mtime) == int(told)


def test_changes_of_what_others_wrote(any_store: Store, mounts: Mounts) -> None:
    big = os.urandom(3 << 20)
    for key in ("overwritten", "appended", "patched", "cut", "gone", "d/gone", "moved", "old/a", "old/s/b"):
        any_store.put(key, big if key in ("appended", "patched", "cut") else key.encode())
    mount = mounts(any_store)
    root = mount.path
    (root / "overwritten").write_bytes(b"new")
    with (root / "appended").open("ab") as file:
        file.write(b"tail")
    with (root / "patched").open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"patch")
    os.truncate(root / "cut", 1_234_567)
    (root / "gone").unlink()
    (root / "d" / "gone").unlink()
    (root / "d").rmdir()
    (root / "moved").rename(root / "to")
    (root / "old").rename(root / "new")
    if any_store.name != "rclone":  # it keeps no directory markers
        (root / "empty").mkdir()
    expected = {
        "overwritten": b"new",
        "appended": big + b"tail",
        "patched": big[:1_500_000] + b"patch" + big[1_500_005:],
        "cut": big[:1_234_567],
        "to": b"moved",
        "new/a": b"old/a",
        "new/s/b": b"old/s/b",
    }
    if any_store.name != "rclone":
        expected["empty/"] = b""
    assert tree(root) == expected
    mount.flush()
    assert tree(root) == expected
    assert any_store.objects() == expected


def test_attributes_travel_with_the_object(any_store: Store, mounts: Mounts) -> None:
    mount = mounts(any_store)
    (mount.path / "a").write_bytes(b"x")
    os.chown(mount.path / "a", 1234, 2345)
    os.chmod(mount.path / "a", 0o4750)
    os.utime(mount.path / "a", ns=(1_000_000_000, 1_500_000_000_123_456_789))
    os.symlink("../to/ünd so", mount.path / "l")
    mount.flush()
    if any_store.head is not None and any_store.name != "rclone":
        metadata = any_store.head("a")["Metadata"]
        assert {key: metadata[key] for key in ("mode", "uid", "gid", "mtime")} == {
            "mode": str(0o104750),
            "uid": "1234",
            "gid": "2345",
            "mtime": "1500000000.123456789",
        }
    os.chmod(mount.path / "a", 0o600)
    mount.umount()
    second = mounts(any_store, name="second").path
    found = (second / "a").stat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (0o100600, 1234, 2345)
    assert found.st_mtime_ns == 1_500_000_000_123_456_789
    assert os.readlink(second / "l") == "../to/ünd so"
    assert (second / "a").read_bytes() == b"x"
