"""`fusecache doctor` as a person runs it: on a mount, and on what an unmounted one has left."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import Servers, new_bucket, use_server
from tests.mount.cli import Done, fusecache
from tests.mount.harness import Mount, Mounts, Store, file_store, s3_store, soon

pytestmark = [pytest.mark.mount, pytest.mark.slow]

NO_COPIES = ("lock", "daemon.log", "listings", "index.db", "-shm")
"""Files of the cache directory that are the only copy of nothing."""


@pytest.fixture(params=["file", "moto"])
def store(
    request: pytest.FixtureRequest, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A directory, or a bucket, where keys of every kind can be put."""
    if request.param == "file":
        yield file_store(tmp_path / "store")
        return
    server = use_server(servers, "moto", monkeypatch)
    with closing(server.client()) as client:
        yield s3_store("moto", client, server.endpoint_url, new_bucket(server))


def digests(directory: Path) -> dict[str, str]:
    """What every file that may be an only copy holds."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not any(word in str(path.relative_to(directory)) for word in NO_COPIES)
    }


def content_of(cache: Path, body: bytes) -> Path:
    """The content file that holds `body`."""
    (found,) = [path for path in (cache / "contents").glob("*/*") if path.read_bytes() == body]
    return found


def kinds(done: Done) -> list[str]:
    return [each["kind"] for each in json.loads(done.stdout)["findings"]]


def damage(mount: Mount, cache: Path) -> Path:
    """Break a cached block, and leave a file that belongs to nothing. Returns the cached file."""
    cached = content_of(cache, b"theirs")
    cached.write_bytes(b"THEIRS")
    (cache / "contents/0a/fffff0a").write_bytes(b"a stray")
    return cached


def begin(mounts: Mounts, store: Store) -> Mount:
    """A mount with a clean file that was read, and a dirty one."""
    store.put("theirs", b"theirs")
    mount = mounts(store, "--persist-delay", "1h")
    assert (mount.path / "theirs").read_bytes() == b"theirs"
    (mount.path / "dirty").write_bytes(b"only here")
    return mount


def settle_index(mount: Mount) -> None:
    """What is cached is remembered within a second; a remount is sooner than that."""
    mount.umount("--no-flush")
    mount.mount()


def test_on_a_mount(mounts: Mounts, store: Store) -> None:
    mount = begin(mounts, store)
    settle_index(mount)
    done = fusecache("doctor", mount.path)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith(f"{mount.path}: all is well\nlooked at ")
    cached = damage(mount, mount.cache)
    before = digests(mount.cache)
    done = fusecache("doctor", "--json", mount.path)
    assert (done.returncode, kinds(done)) == (1, ["block-damaged", "file-unknown"])
    assert before.items() <= digests(mount.cache).items()
    assert (mount.path / "theirs").read_bytes() == b"THEIRS", "which the kernel keeps"
    done = fusecache("doctor", "--repair", mount.path / "theirs")
    assert (done.returncode, "2 repaired" in done.stdout) == (0, True), done
    assert cached.read_bytes() == b"theirs"
    soon(lambda: (mount.path / "theirs").read_bytes() == b"theirs", "the kernel keeps what was read of it")
    assert (mount.cache / "aside/fffff0a").read_bytes() == b"a stray"
    assert content_of(mount.cache, b"only here").exists()
    mount.flush()
    assert store.objects() == {"theirs": b"theirs", "dirty": b"only here"}


def test_on_what_is_not_mounted(mounts: Mounts, store: Store) -> None:
    mount = begin(mounts, store)
    state = ("--cache-dir", mount.cache, *store.options, store.url)
    done = fusecache("doctor", *state)
    assert (done.returncode, "in use by the fusecache on" in done.stderr) == (1, True), done
    mount.umount("--no-flush")
    done = fusecache("doctor", *state)
    assert (done.returncode, done.stderr) == (0, ""), done
    cached = damage(mount, mount.cache)
    before = digests(mount.cache)
    done = fusecache("doctor", "--json", *state)
    assert (done.returncode, kinds(done)) == (1, ["block-damaged", "file-unknown"]), done
    assert before.items() <= digests(mount.cache).items()
    done = fusecache("doctor", "--repair", *state)
    assert (done.returncode, "2 repaired" in done.stdout, done.stderr) == (0, True, ""), done
    assert (cached.read_bytes(), (mount.cache / "aside/fffff0a").read_bytes()) == (b"theirs", b"a stray")
    assert store.objects() == {"theirs": b"theirs"}
    mount.mount()
    assert (mount.path / "theirs").read_bytes() == b"theirs"
    mount.flush()
    assert store.objects() == {"theirs": b"theirs", "dirty": b"only here"}


def test_after_a_kill_dirty_bytes_that_are_missing_are_damage_and_nothing_is_touched(
    mounts: Mounts, store: Store
) -> None:
    mount = begin(mounts, store)
    (mount.path / "other").write_bytes(b"other")
    mount.kill()
    content_of(mount.cache, b"only here").unlink()
    before = digests(mount.cache)
    for repair in ((), ("--repair",)):
        done = fusecache("doctor", *repair, "--cache-dir", mount.cache, *store.options, store.url)
        assert (done.returncode, "/dirty: " in done.stdout) == (1, True), done
        assert "damage: bytes that no store has yet are missing" in done.stdout
        if repair:  # which opens the namespace as a mount does: what is in its WAL may move into it
            before = {name: digest for name, digest in before.items() if "namespace.db" not in name}
        assert before.items() <= digests(mount.cache).items()
    assert store.objects() == {"theirs": b"theirs"}


def test_uploads_that_were_left_are_aborted_when_they_are_old(mounts: Mounts, store: Store, tmp_path: Path) -> None:
    """moto says 2010 of every upload; in a directory the file's own time counts."""
    mount = begin(mounts, store)
    staging = tmp_path / "store/.fusecache-staging"

    def left() -> list[str]:
        if store.uploads is None or store.name == "file":  # whose uploads tell no keys but fusecache's own
            return sorted(path.name for path in staging.iterdir())
        return store.uploads()

    old, kept = ("theirs", "strangers") if store.begin_upload else (f"upload-{'0' * 32}", f"upload-{'1' * 32}")
    for name in (old, kept):
        if store.begin_upload is not None:
            store.begin_upload(name)
        else:
            (staging / name).mkdir(parents=True)
    if store.begin_upload is None:
        os.utime(staging / old, (0, 0))
    done = fusecache("doctor", "--json", mount.path)
    assert (done.returncode, "upload-left" in kinds(done), len(left())) == (1, True, 2), done
    done = fusecache("doctor", "--repair", mount.path)
    assert (done.returncode, left()) == (0, [kept]), done


def test_odd_keys_and_conflict_copies_are_told(mounts: Mounts, store: Store) -> None:
    mount = begin(mounts, store)
    store.put("theirs.conflict-0f0f", b"x")
    if store.name == "moto":
        for key in ("a//b", "a", "long/" + "n" * 300):
            store.put(key, b"x")
    done = fusecache("doctor", "--json", mount.path)
    odd = ["key-unnameable", "key-hidden", "key-quoted"] if store.name == "moto" else []
    assert (kinds(done), done.returncode) == ([*odd, "conflict-copy"], int(bool(odd)))
    assert kinds(fusecache("doctor", "--json", mount.path / "dirty")) == []


def test_what_cannot_be_examined_is_one_line(tmp_path: Path, mounts: Mounts, directory_store: Store) -> None:
    cases = [
        ((tmp_path,), 4, "not on a fusecache mount"),
        (("s3://bucket",), 2, "--cache-dir"),
        (("--cache-dir", tmp_path / "none", directory_store.url), 2, "no state"),
        (("--cache-dir", tmp_path / "none"), 2, "no store"),
    ]
    for arguments, code, words in cases:
        done = fusecache("doctor", *arguments)
        assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (code, True, 1), done
    assert not (tmp_path / "none").exists()
    mount = begin(mounts, directory_store)
    mount.umount()
    done = fusecache("doctor", "--cache-dir", mount.cache, f"file://{tmp_path}")
    assert (done.returncode, "belongs to" in done.stderr) == (1, True), done
    mount.mount()
    mount.kill()
    assert fusecache("doctor", mount.path).returncode == 6


def test_a_torn_database_is_told_and_nothing_is_repaired(mounts: Mounts, directory_store: Store) -> None:
    mount = begin(mounts, directory_store)
    mount.umount("--no-flush")
    database = mount.cache / "state/namespace.db"
    body = bytearray(database.read_bytes())
    body[2048:] = os.urandom(len(body) - 2048)
    database.write_bytes(body)
    (mount.cache / "contents/0a/fffff0a").write_bytes(b"a stray")
    before = digests(mount.cache)
    done = fusecache("doctor", "--repair", "--cache-dir", mount.cache, directory_store.url)
    assert (done.returncode, "the namespace database is damaged" in done.stdout) == (1, True), done
    assert before.items() <= digests(mount.cache).items()
