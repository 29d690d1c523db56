"""One mount and one plain directory for many sequences of calls, each in a directory of its own on both sides."""

from __future__ import annotations

import itertools
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from fusecache.cli.main import main
from tests.mount.calls import pattern
from tests.mount.cli import Done
from tests.mount.harness import Mount, Mounts, Store, deadline
from tests.mount.twin import Twin, drained

BLOCK = 64 << 10
FOREIGN = {"a": pattern(3 * BLOCK + 17, 1), "b/a": b"", "b/b": pattern(BLOCK, 2), "b/c/a": pattern(2 * BLOCK, 3)}
"""What was in the store before: reads, copy-up, redirects and whiteouts have something to meet."""
STAGING = "_temporary"

_SEQUENCES = 20
"""On one mount: what they leave in its namespace makes later ones no slower."""


@dataclass(frozen=True)
class Pair:
    """A mount, and a plain directory that is to hold the same."""

    store: Store
    mount: Mount
    plain: Path

    def finish(self, twin: Twin) -> None:
        """Compare the sequence's directories, and what a drain makes of them; they are gone when this returns."""
        twin.end()
        twin.flush()
        prefix = f"{twin.name}/"
        expected = drained(self.plain / twin.name, is_local, prefix) or {prefix: b""}
        self._check_objects(prefix, expected, str(twin))
        self._check_log(str(twin))
        for root in (self.mount.path, self.plain):
            shutil.rmtree(root / twin.name)

    def close(self) -> None:
        """Unmount; the store holds what nobody has touched, and nothing else, when this returns."""
        self.mount.umount()
        self._check_objects("", drained(self.plain, is_local), "at the end")
        self._check_log("at the end")

    def _check_objects(self, prefix: str, expected: dict[str, bytes], when: str) -> None:
        """What had been in the store before its directory became staging is moved there, and makes up for a marker."""
        objects = {key: data for key, data in self.store.objects().items() if key.startswith(prefix)}
        moved = [key for key in objects if f"/{STAGING}/" in f"/{key}"]
        needless = {key for key in expected if key.endswith("/") and any(each.startswith(key) for each in moved)}
        left = {key: data for key, data in objects.items() if key not in moved}
        right = {key: data for key, data in expected.items() if key not in needless}
        assert left == right, f"other objects after\n{when}"

    def _check_log(self, when: str) -> None:
        assert "Traceback" not in (self.mount.cache / "state" / "daemon.log").read_text(), when


class Lab:
    """Gives every sequence its directories, until one fails: then the next one has another mount."""

    def __init__(self, root: Path, new_store: Callable[[], Store], *options: str) -> None:
        self._new_store = new_store
        self._options = ("--block-size", str(BLOCK), *options)
        self._mounts = Mounts(root)
        self._numbers = itertools.count()
        self._stack = ExitStack()
        self._pair: Pair | None = None
        self._names: list[tuple[str, str]] = []
        """Of the directories that are left on this mount: an empty one, and one that is in the store."""

    @contextmanager
    def opened(self) -> Iterator[Lab]:
        """Be used in the block. What is mounted then is compared once more."""
        with self._stack:
            yield self
            self._close()

    @contextmanager
    def directory(self, *, foreign: bool, every: int) -> Iterator[Twin]:
        """Compare a directory, over `FOREIGN` or empty, in the block and at its end.

        No call hangs for longer than the watchdog waits.
        """
        with deadline(self._mounts), ExitStack() as failed:
            failed.callback(self._give_up)
            if self._pair is None or not self._names:
                self._close()
                self._open()
            assert self._pair is not None
            name = self._names.pop()[foreign]
            twin = Twin(self._pair.mount, self._pair.plain, name, every=every)
            if not foreign:
                twin.begin()
            try:
                yield twin
            finally:
                twin.let_go()
            if twin.is_well:
                self._pair.finish(twin)
                failed.pop_all()

    def _open(self) -> None:
        plain = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fusecache-twin-")))
        self._stack.callback(self._mounts.cut_off)
        store = self._new_store()
        self._names = [(f"e{n}", f"f{n}") for n in range(_SEQUENCES)]
        for _, name in self._names:
            for key, data in FOREIGN.items():
                store.put(f"{name}/{key}", data)
                (plain / name / key).parent.mkdir(parents=True, exist_ok=True)
                (plain / name / key).write_bytes(data)
        mount = self._mounts(store, *self._options, name=f"m{next(self._numbers)}", run=_run)
        self._pair = Pair(store, mount, plain)

    def _close(self) -> None:
        if self._pair is not None:
            self._pair.close()
        self._give_up()

    def _give_up(self) -> None:
        self._stack.close()
        self._pair = None


def is_local(path: Path) -> bool:
    return stat.S_ISFIFO(path.lstat().st_mode) or (path.name == STAGING and path.is_dir() and not path.is_symlink())


def _run(*arguments: str | Path) -> Done:
    """Run a command in this process, which is faster: a daemon is left behind as a child that nobody waits for."""
    words = [str(each) for each in arguments]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        result = CliRunner().invoke(main, words)
    return Done(words, result.exit_code, result.stdout, result.stderr)
