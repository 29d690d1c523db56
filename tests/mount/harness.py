"""Stores to mount, mounts that end with their test, and a watchdog for syscalls that hang."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from fusecache.backends.local.store import open_local
from fusecache.backends.local.tree import LocalTree
from fusecache.control.client import wait_gone
from fusecache.control.detach import unmount_command
from fusecache.types import OpenUpload
from tests.mount.cli import FLUSH_S, TIMEOUT_S, fusecache, kill, mounted, supervisor_of

DEADLINE_S = 90.0
"""How long a test may take: after it every mount of its own is cut off, and what hangs in one fails."""
SOON_S = 10.0
Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Store:
    """Something to mount, and the independent witness of what is in it."""

    name: str
    url: str
    options: tuple[str, ...]
    put: Callable[[str, bytes], None]
    objects: Callable[[], dict[str, bytes]]
    head: Callable[[str], dict[str, Any]] | None = None
    """What a HEAD tells, where there is such a thing."""
    uploads: Callable[[], list[str]] | None = None
    """The unfinished uploads by their keys, where a server tells."""
    begin_upload: Callable[[str], None] | None = None


def file_store(root: Path) -> Store:
    root.mkdir(exist_ok=True)

    def put(key: str, data: bytes) -> None:
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def objects() -> dict[str, bytes]:
        """What a listing by fusecache's own rule shows: it alone says which directories are objects."""
        while True:
            keys = [info.key for info in LocalTree(root).walk("", "")]
            with contextlib.suppress(FileNotFoundError):  # something drains, and has removed one meanwhile
                return {key: b"" if key.endswith("/") else (root / key).read_bytes() for key in keys}

    def uploads() -> list[str]:
        return sorted(upload.key for upload in trio.run(listed) if upload.key is not None)  # else a killed put's

    async def listed() -> Sequence[OpenUpload]:
        async with open_local(root) as store:
            return await store.list_uploads()

    return Store("file", f"file://{root}", (), put, objects, uploads=uploads)


def s3_store(name: str, client: Any, endpoint_url: str, bucket: str, prefix: str = "some/prefix/") -> Store:
    def put(key: str, data: bytes) -> None:
        client.put_object(Bucket=bucket, Key=prefix + key, Body=data)

    def objects() -> dict[str, bytes]:
        keys = [
            each["Key"]
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            for each in page.get("Contents", [])
        ]
        return {key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    def head(key: str) -> dict[str, Any]:
        answer: dict[str, Any] = client.head_object(Bucket=bucket, Key=prefix + key)
        return answer

    def uploads() -> list[str]:
        told = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        return sorted(each["Key"].removeprefix(prefix) for each in told)

    def begin_upload(key: str) -> None:
        client.create_multipart_upload(Bucket=bucket, Key=prefix + key)

    url, options = f"s3://{bucket}/{prefix.rstrip('/')}", ("--endpoint-url", endpoint_url)
    return Store(name, url, options, put, objects, head, uploads, begin_upload)


@dataclass
class Mount:
    """One `fusecache mount`, which may be killed and made again."""

    url: str
    path: Path
    cache: Path
    options: tuple[str, ...]
    run: Run = fusecache
    pid: int = 0
    supervisor: int = 0
    """The process that starts another daemon when this one dies; 0: there is none."""

    def mount(self) -> None:
        """Mount; it answers when this returns."""
        with contextlib.suppress(FileExistsError):  # not exist_ok, which would ask a dead mount what it is
            self.path.mkdir()
        self._run("mount", self.url, self.path, "--cache-dir", self.cache, *self.options)
        self.pid = self.daemon()
        self.supervisor = supervisor_of(self.pid)

    def facts(self, path: str = "") -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._run("stat", "--json", self.path / path))
        return told

    def flush(self, path: str = "") -> dict[str, Any]:
        """Drain; everything acknowledged is in the store when this returns."""
        told: dict[str, Any] = json.loads(self._run("flush", "--json", "--deadline", f"{FLUSH_S}s", self.path / path))
        return told

    def umount(self, *options: str) -> None:
        self._run("umount", self.path, *options)
        assert wait_gone(self.pid, TIMEOUT_S)
        self.pid = 0

    def kill(self) -> None:
        """SIGKILL the daemon, and who would start another. What is mounted now answers nobody."""
        kill(self.supervisor)
        kill(self.pid)
        self.pid = self.supervisor = 0

    def followed(self) -> None:
        """Wait for the daemon that goes on with the mount after this one has ended."""
        before = self.pid
        soon(lambda: self.facts()["pid"] != before, "no other daemon answers", within_s=TIMEOUT_S)
        self.pid = self.daemon()

    def daemon(self) -> int:
        """The process that holds the lock, or did."""
        return int((self.cache / "lock").read_text().split()[0])

    def cut_off(self) -> None:
        """End daemon and mount whatever their state."""
        kill(self.supervisor)
        kill(self.pid)
        if self.pid and (self.cache / "lock").exists():  # else what that was on is gone
            kill(self.daemon())
        if mounted(self.path):
            subprocess.run(unmount_command(self.path, lazy=True), timeout=TIMEOUT_S, check=False)

    def _run(self, *arguments: str | Path) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"fusecache {arguments}: {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout


@dataclass
class Mounts:
    """Makes mounts below one directory, and ends them."""

    root: Path
    made: list[Mount] = field(default_factory=list)

    def __call__(self, store: Store, *options: str, name: str = "m", run: Run = fusecache) -> Mount:
        """Mount `store` with a cache of its own (the same one for the same name)."""
        cache = self.root / f"cache-{name}"
        mount = Mount(store.url, self.root / name, cache, (*store.options, *options), run)
        self.made.append(mount)
        mount.mount()
        return mount

    def cut_off(self) -> None:
        for mount in self.made:
            mount.cut_off()


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that other users reach, at a path short enough for sockets: pytest's are neither."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        for folder in (Path(name), Path(name).parent):
            folder.chmod(folder.stat().st_mode & 0o7777 | 0o011)
        yield Path(name)


@contextmanager
def watched(mounts: Mounts, deadline_s: float = DEADLINE_S) -> Iterator[Mounts]:
    """Cut the mounts off at the end, or when the block takes too long."""
    try:
        with deadline(mounts, deadline_s):
            yield mounts
    finally:
        mounts.cut_off()


@contextmanager
def deadline(mounts: Mounts, deadline_s: float = DEADLINE_S) -> Iterator[None]:
    """Cut the mounts off when the block takes too long: no syscall hangs for longer."""
    timer = threading.Timer(deadline_s, mounts.cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def soon(holds: Callable[[], bool], what: str, *, within_s: float = SOON_S) -> None:
    """Wait until something holds that must hold within moments."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root` by its path, and every empty directory as `path/`: what the bucket should hold."""
    found: dict[str, bytes] = {}
    for directory, names, files in os.walk(root):
        below = os.path.relpath(directory, root)
        prefix = "" if below == "." else f"{below}/"
        for name in files:
            path = Path(directory, name)
            found[prefix + name] = b"" if stat.S_ISLNK(path.lstat().st_mode) else path.read_bytes()
        if prefix and not names and not files:
            found[prefix] = b""
    return found
