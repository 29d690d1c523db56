"""Directories as the kernel shows them: many names, whole trees renamed and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.harness import DEADLINE_S, Mounts, Store, tree, watched

pytestmark = [pytest.mark.mount, pytest.mark.slow]


@pytest.fixture
def mounts(tmp_path: Path) -> Iterator[Mounts]:
    """A thousand empty objects are a thousand HEADs, and moto answers thirty in a second."""
    with watched(Mounts(tmp_path), 3 * DEADLINE_S) as made:
        yield made


def test_a_thousand_objects_are_listed_renamed_and_removed(any_store: Store, mounts: Mounts) -> None:
    count = 120 if any_store.name == "rclone" else 1100  # it answers ~ 100 requests a second
    for number in range(count):
        any_store.put(f"d/f{number:04d}", b"")
    mount = mounts(any_store, "--persist-delay", "0s")
    names = [f"f{number:04d}" for number in range(count)]
    assert sorted(os.listdir(mount.path / "d")) == names
    (mount.path / "d").rename(mount.path / "e")
    assert sorted(os.listdir(mount.path / "e")) == names
    mount.flush()
    assert sorted(any_store.objects()) == [f"e/{name}" for name in names]
    assert sorted(os.listdir(mount.path / "e")) == names
    shutil.rmtree(mount.path / "e")
    mount.flush()
    assert any_store.objects() == {}
    assert os.listdir(mount.path) == []


def test_ordinary_programs_work_on_a_tree(directory_store: Store, mounts: Mounts) -> None:
    """tar, cp -a, mv, find and rm: each has its own idea of how directories are read."""
    mount = mounts(directory_store)
    script = """
        set -e
        mkdir -p src/a/b src/empty
        for n in $(seq 300); do echo $n > src/a/$n; done
        echo deep > src/a/b/deep
        ln -s ../a/1 src/empty/link
        cp -a src copy
        tar cf - src | (mkdir untar && cd untar && tar xf -)
        diff -r src copy
        diff -r src untar/src
        test "$(find src | wc -l)" = 306
        mv copy untar/moved
        rm -r src
        echo more >> untar/moved/a/1
    """
    done = subprocess.run(["sh", "-c", script], cwd=mount.path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = tree(mount.path)
    assert expected["untar/moved/a/1"] == b"1\nmore\n"
    mount.flush()
    assert directory_store.objects() == expected


def test_errors_have_the_numbers_that_programs_expect(directory_store: Store, mounts: Mounts) -> None:
    directory_store.put("d/a", b"x")
    root = mounts(directory_store).path
    (root / "f").write_bytes(b"x")
    with pytest.raises(FileNotFoundError):
        os.stat(root / "nothing")
    with pytest.raises(NotADirectoryError):
        os.stat(root / "f" / "x")
    with pytest.raises(FileExistsError):
        os.mkdir(root / "d")
    with pytest.raises(OSError, match="not empty"):
        os.rmdir(root / "d")
    with pytest.raises(OSError, match="Invalid argument"):
        os.rename(root / "d", root / "d" / "x")
    with pytest.raises(IsADirectoryError):
        os.rename(root / "f", root / "d")
    with pytest.raises(NotADirectoryError):
        os.rename(root / "d", root / "f")
    with pytest.raises(OSError, match="too long"):
        os.stat(root / ("n" * 256))
