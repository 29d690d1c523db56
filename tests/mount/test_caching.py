"""load, free, pin, unpin and ls as a person uses them: on a real mount, by the real command."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mount.cli import fusecache
from tests.mount.harness import Mount, Mounts, Store, file_store, watched

pytestmark = [pytest.mark.mount, pytest.mark.slow]
BIG = os.urandom(3 << 20)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = file_store(tmp_path / "store")
    for n in range(4):
        store.put(f"t/d{n % 2}/f{n}.{'x' if n else 'y'}", BIG + bytes([n]))
    return store


@pytest.fixture
def mount(tmp_path: Path, store: Store) -> Iterator[Mount]:
    with watched(Mounts(tmp_path)) as mounts:
        yield mounts(store, "--persist-delay", "0s")


def listed(path: Path) -> dict[str, dict[str, Any]]:
    done = fusecache("ls", "--json", path)
    assert done.returncode == 0, done.stderr
    return {each["name"]: each for each in map(json.loads, done.stdout.splitlines())}


def test_what_was_loaded_is_read_when_the_store_is_gone(mount: Mount, tmp_path: Path) -> None:
    done = fusecache("load", "--rate", "1G", mount.path / "t")
    assert done.returncode == 0, done
    assert done.stdout.startswith(f"{mount.path}/t: 4 files, 12.0 MiB in the cache · 12.0 MiB fetched in ")
    mount.umount()
    mount.mount()
    assert mount.facts("t")["cached_bytes"] == 4 * (len(BIG) + 1)
    (tmp_path / "store").rename(tmp_path / "gone")
    for n in range(4):
        assert (mount.path / f"t/d{n % 2}/f{n}.{'x' if n else 'y'}").read_bytes() == BIG + bytes([n])
    (tmp_path / "gone").rename(tmp_path / "store")


def test_loads_that_are_not_complete_say_so(mount: Mount, store: Store) -> None:
    assert fusecache("load", mount.path / "absent").returncode == 1
    assert fusecache("load", "--rate", "0", mount.path / "t").returncode == 2
    done = fusecache("load", "--include", "*.x", "--json", mount.path / "t")
    told = json.loads(done.stdout)
    assert (done.returncode, told["files_done"], told["failures"], told["stopped"]) == (0, 3, 0, None)
    assert [name for name, each in listed(mount.path / "t/d0").items() if each["cached_bytes"]] == ["f2.x"]
    done = fusecache("load", "--metadata", mount.path / "t")
    assert (done.returncode, "4 files, 0 B in the cache" in done.stdout) == (0, True)


def test_ls_shows_states_and_shares(mount: Mount) -> None:
    fusecache("load", mount.path / "t/d0")
    (mount.path / "t/mine").write_bytes(b"12345")
    mount.flush()
    fusecache("pin", mount.path / "t/d1")
    assert fusecache("ls", mount.path / "t").stdout.splitlines() == [
        "clean      100%  d0/", "clean        0%  d1/", "clean      100%  mine",
    ]  # fmt: skip
    lines = fusecache("ls", "-l", cwd=mount.path / "t").stdout.splitlines()
    assert [line.split()[1:4] for line in lines] == [["100%", "6.0", "MiB"], ["0%", "6.0", "MiB"], ["100%", "5", "B"]]
    assert [" pin " in line for line in lines] == [False, True, False]
    assert fusecache("ls", mount.path / "absent").returncode == 1


def test_free_keeps_what_the_store_lacks_and_what_is_pinned(mount: Mount) -> None:
    assert fusecache("load", "--pin", mount.path / "t/d0").returncode == 0
    assert fusecache("load", mount.path / "t/d1").returncode == 0
    fusecache("pause", mount.path)
    (mount.path / "t/new").write_bytes(BIG)
    done = fusecache("free", mount.path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{mount.path}: 2 files given up, 6.0 MiB of the disk are free · 2 files, 6.0 MiB kept: pinned",
        "1 file, 3.0 MiB are not in the store yet, and kept:",
        "  /t/new: pending",
    ]
    fusecache("resume", mount.path)
    mount.flush()
    assert json.loads(fusecache("free", "--json", mount.path).stdout)["files"] == 1
    assert (mount.path / "t/new").read_bytes() == BIG


def test_pins_outlive_a_remount_and_are_told(mount: Mount) -> None:
    done = fusecache("pin", mount.path / "t/d0", mount.path / "t/d1/f1.x")
    assert done.stdout.splitlines()[0].startswith(f"{mount.path}/t/d0 is pinned: 2 files, 6.0 MiB; ")
    mount.umount()
    mount.mount()
    pinned = mount.facts()["cache"]["pinned"]
    assert (pinned["paths"], pinned["files"], pinned["cached_bytes"]) == (["/t/d0", "/t/d1/f1.x"], 3, 0)
    assert "pinned  0 B of 9.0 MiB cached · /t/d0, /t/d1/f1.x" in fusecache("stat", mount.path).stdout
    assert mount.facts("t/d0/f2.x")["pinned"]
    assert fusecache("stat", mount.path / "t/d0/f2.x").stdout.endswith(" · pinned\n")
    done = fusecache("unpin", mount.path / "t/d0/f2.x")
    assert (done.returncode, done.stderr) == (1, f"{mount.path}/t/d0/f2.x is still pinned, by {mount.path}/t/d0\n")
    shutil.rmtree(mount.path / "t/d0")
    done = fusecache("unpin", mount.path / "t")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)
    assert fusecache("unpin", mount.path).returncode == 1


def test_a_pin_of_more_than_the_disk_is_refused(mount: Mount, store: Store, tmp_path: Path) -> None:
    with (tmp_path / "store/huge").open("wb") as file:
        file.truncate(1 << 43)
    for command in (("pin",), ("load", "--pin")):
        done = fusecache(*command, mount.path)
        assert (done.returncode, "is not pinned: it has 8.0 TiB, and the cache holds " in str(done)) == (1, True)
