"""pause, resume, retry, tune and export as a person uses them: on a real mount, by the real command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.cli import facts, foreground, fusecache, mounted
from tests.mount.harness import Mount, Mounts, Store, file_store, soon, watched

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return file_store(tmp_path / "store")


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    with watched(Mounts(tmp_path)) as made:
        yield made


@pytest.fixture
def mount(mounts: Mounts, store: Store) -> Mount:
    return mounts(store, "--persist-delay", "0s")


def test_a_pause_keeps_everything_here_also_over_a_remount(mount: Mount, store: Store) -> None:
    (mount.path / "p").mkdir()
    mount.flush()
    done = fusecache("pause", mount.path / "p")
    assert (done.returncode, "is paused" in done.stdout) == (0, True)
    (mount.path / "p/f").write_bytes(b"1")
    (mount.path / "g").write_bytes(b"2")
    done = fusecache("flush", mount.path)
    assert (done.returncode, "paused, until `fusecache resume`" in done.stdout) == (5, True), done
    assert store.objects() == {"g": b"2", "p/": b""}
    done = fusecache("umount", mount.path)
    assert (done.returncode, "stays mounted" in done.stderr) == (5, True)
    mount.umount("--no-flush")
    mount.mount()
    told = mount.facts()
    assert (told["paused"], told["limited_by"]) == (["/p"], "a pause, until `fusecache resume`")
    assert "paused  /p: " in fusecache("stat", mount.path).stdout
    done = fusecache("resume", mount.path / "p/f")
    assert (done.returncode, "still paused, by " in done.stderr) == (1, True)
    assert fusecache("resume", mount.path).stdout == f"{mount.path}/p goes on\n"
    assert fusecache("resume", mount.path).returncode == 1
    mount.flush()
    assert store.objects()["p/f"] == b"1"
    assert fusecache("pause", mount.path / "absent").returncode == 1


def test_what_is_stuck_is_tried_again_when_told(mount: Mount, store: Store, tmp_path: Path) -> None:
    """Something that is no directory is in the way, where `file://` puts nothing."""
    (mount.path / "d").mkdir()
    (mount.path / "d/f").write_bytes(b"1")
    mount.flush()
    (tmp_path / "store/d/f").unlink()
    os.mkfifo(tmp_path / "store/d/f")
    (mount.path / "d/f").write_bytes(b"2")
    done = fusecache("flush", "--deadline", "30s", mount.path)
    assert (done.returncode, "d/f: " in done.stdout) == (5, True), done
    done = fusecache("retry", mount.path)
    assert (done.returncode, done.stdout) == (0, f"1 change below {mount.path} tried again\n")
    assert fusecache("flush", mount.path).returncode == 5
    (tmp_path / "store/d/f").unlink()
    mount.flush()  # which tries it, too
    assert fusecache("retry", mount.path).stdout == f"nothing below {mount.path} was refused\n"
    assert store.objects()["d/f"] == b"2"


def test_limits_change_while_it_is_mounted(mount: Mount) -> None:
    def tuned(*options: str) -> dict[str, object]:
        done = fusecache("tune", "--json", mount.path, *options)
        assert done.returncode == 0, done.stderr
        told: dict[str, object] = json.loads(done.stdout)
        return told

    before = tuned()
    assert before == {"max_uploads": 16, "upload_limit": None, "request_rate": None}
    after = tuned("--max-uploads", "4", "--upload-limit", "10M", "--request-rate", "50")
    assert after == {"max_uploads": 4, "upload_limit": 10 << 20, "request_rate": 50.0} == tuned()
    assert tuned("--upload-limit", "none", "--request-rate", "none", "--max-uploads", "16") == before
    done = fusecache("tune", mount.path, "--max-uploads", "1000")
    assert (done.returncode, "between 1 and 256" in done.stderr) == (2, True)


@pytest.mark.parametrize("is_mounted", [True, False], ids=["mounted", "unmounted"])
def test_what_a_lost_store_lacks_is_saved(
    mount: Mount, mounts: Mounts, tmp_path: Path, store: Store, is_mounted: bool
) -> None:
    fusecache("pause", mount.path)
    (mount.path / "d").mkdir()
    (mount.path / "d/f").write_bytes(b"only here")
    os.utime(mount.path / "d/f", ns=(10**18, 10**18))
    (mount.path / "d/link").symlink_to("f")
    arguments: tuple[str | Path, ...] = (mount.path,)
    if not is_mounted:
        mount.umount("--no-flush")
        (tmp_path / "store").rename(tmp_path / "gone")
        arguments = ("--cache-dir", mount.cache, store.url)
    done = fusecache("export", *arguments, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"saved to {tmp_path}/out: 1 file, 9 B · 1 symbolic links\n"
    assert (tmp_path / "out/d/f").read_bytes() == b"only here"
    assert (tmp_path / "out/d/f").stat().st_mtime_ns == 10**18
    assert os.readlink(tmp_path / "out/d/link") == "f"
    done = fusecache("export", *arguments, tmp_path / "out")
    assert (done.returncode, "d/f: File exists" in done.stdout) == (1, True)
    if is_mounted:
        assert fusecache("export", *arguments, mount.path / "out").returncode == 2


def test_a_signal_drains_for_as_long_as_it_was_told(tmp_path: Path, store: Store) -> None:
    (tmp_path / "m").mkdir()
    options = ("--cache-dir", str(tmp_path / "c"), "--stop-deadline", "1s")
    with foreground(store.url, tmp_path / "m", *options) as process:
        fusecache("tune", tmp_path / "m", "--upload-limit", "64K")
        (tmp_path / "m/big").write_bytes(bytes(8 << 20))
        (tmp_path / "m/small").write_bytes(b"1")
        soon(lambda: facts(tmp_path / "m")["files_dirty"] < 3, "nothing moves")
        process.terminate()
        assert process.wait(40) == 0
    assert mounted(tmp_path / "m") is None
    with watched(Mounts(tmp_path)) as mounts:
        again = Mount(store.url, tmp_path / "m", tmp_path / "c", ())
        mounts.made.append(again)
        again.mount()
        again.flush()
        assert set(store.objects()) == {"big", "small"}
