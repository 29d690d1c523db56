"""Random calls on a mount and on a plain directory, with drains, evictions, remounts and kills between any two.

`FUSECACHE_TWIN_EXAMPLES` says how many sequences. A hundred take ten minutes:
`FUSECACHE_TWIN_EXAMPLES=100 script/test mount -k twin`. What one prints can be pasted into `FOUND`.
"""

from __future__ import annotations

import itertools
import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from script.s3_server import running
from tests.conftest import new_bucket
from tests.mount.calls import Step, pattern
from tests.mount.harness import Mounts, Store, file_store, s3_store, watched
from tests.mount.twin import Twin, drained

pytestmark = [pytest.mark.mount, pytest.mark.slow]

EXAMPLES = int(os.environ.get("FUSECACHE_TWIN_EXAMPLES", "0"))
BLOCK = 64 << 10
FOREIGN = {"a": pattern(3 * BLOCK + 17, 1), "b/a": b"", "b/b": pattern(BLOCK, 2), "b/c/a": pattern(2 * BLOCK, 3)}
"""What was in the store before: reads, copy-up, redirects and whiteouts have something to meet."""
STAGING = "_temporary"
ODD = "\udcff\n‰"
"""A name that no key can hold as it is."""

OPENING: list[Step] = [
    ("open", 0, "a", "RDWR CREAT", 0o644),
    ("mkdir", "b", 0o755),
    ("mkdir", "b/c", 0o755),
    ("open", 1, "b/b", "RDWR CREAT", 0o644),
]
"""So that most calls find something, in every sequence."""

names = st.sampled_from(["a", "b", "c"])
paths = st.one_of(
    names,
    st.sampled_from(["a", "b", "b/a", "b/b", "b/c", "b/c/a"]),
    st.lists(names, min_size=2, max_size=3).map("/".join),
    st.lists(st.sampled_from(["a", "b", "_SUCCESS", STAGING, ODD]), min_size=1, max_size=3).map("/".join),
)
slots = st.sampled_from([0, 0, 1, 1, 2])
wheres = st.one_of(paths, slots)
offsets = st.one_of(st.integers(0, 20), st.sampled_from([4095, BLOCK - 3, BLOCK, 2 * BLOCK + 5, 5 * BLOCK]))
sizes = st.sampled_from([0, 1, 10, 4096, BLOCK, BLOCK + 9, 3 * BLOCK])
seeds = st.integers(0, 9)
modes = st.sampled_from([0o700, 0o755, 0o1777, 0o2755, 0o4711, 0o6777])
"""All of which let the owner in, or nobody but root could look."""
owners = st.sampled_from([0, 1, 1000, 65534])
accesses = ["RDONLY", "WRONLY", "RDWR", "RDWR"]
manners = [
    "", "CREAT", "CREAT", "CREAT EXCL", "CREAT TRUNC", "CREAT APPEND", "TRUNC", "APPEND", "DIRECTORY", "NOFOLLOW",
    "CREAT NOFOLLOW", "CREAT DIRECTORY", "NOFOLLOW TRUNC",
]  # fmt: skip
flags = st.tuples(st.sampled_from(accesses), st.sampled_from(manners)).map(" ".join)
mtimes = st.sampled_from([None, 0, -1, 123_456_789, 10**18 + 1, -(10**18) + 999_999_999])
labels = st.sampled_from(["user.a", "user.b", "user.\N{SNOWMAN}"])

CALLS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "open": (slots, paths, flags, modes),
    "reopen": (slots, paths, st.just("RDWR CREAT"), st.just(0o755)),
    "close": (slots,),
    "read": (slots, sizes),
    "write": (slots, sizes, seeds),
    "seek": (slots, offsets, st.sampled_from([os.SEEK_SET, os.SEEK_END])),
    "pread": (slots, offsets, sizes),
    "pwrite": (slots, offsets, sizes, seeds),
    "copy": (slots, slots, offsets, sizes),
    "fsync": (slots,),
    "map": (slots,),
    "store": (slots, offsets, sizes, seeds),
    "load": (slots, offsets, sizes),
    "unmap": (slots,),
    "mkdir": (paths, modes),
    "mkfifo": (paths, modes),
    "symlink": (st.sampled_from(["a", "b", "b/c", "c", "absent", "a/a"]), paths),
    "readlink": (paths,),
    "link": (paths, paths),
    "unlink": (paths,),
    "rmdir": (paths,),
    "rename": (paths, paths),
    "move": (paths, paths),
    "rename_new": (paths, paths),
    "exchange": (paths, paths),
    "ls": (wheres,),
    "stat": (wheres,),
    "truncate": (wheres, offsets),
    "chmod": (wheres, modes),
    "chown": (wheres, owners, owners),
    "utime": (wheres, mtimes),
    "setxattr": (wheres, labels, st.sampled_from([0, 5, 700, 5000]), st.sampled_from([0, 0, 0, 1, 2])),
    "getxattr": (wheres, labels),
    "removexattr": (wheres, labels),
}
AGAIN = {"reopen": "open", "move": "rename"}
"""Calls that come more often, without arguments that only fail."""

between = st.sampled_from(
    [("flush",), ("evict",), ("evict",), ("remount",), ("remount", "--no-flush"), ("kill",), ("kill",), ("pause", 0.05)]
)

FOUND: list[tuple[bool, int, list[Step]]] = [
    # A commit marker that stepped aside waited for the delete of its own key, and that for the marker.
    (
        True, 1,
        [
            ("open", 0, "_SUCCESS", "RDWR CREAT", 0o644), ("close", 0), ("flush",), ("exchange", "a", "b"),
            ("rename", "b", "_SUCCESS"), ("flush",),
        ],
    ),
    # What an open for reading had cut was not committed before its last close.
    (True, 1, [("open", 0, "a", "RDONLY TRUNC", 0o644), ("kill",)]),
]  # fmt: skip
"""Whether over `FOREIGN`, after how many steps it looks, and the steps."""


class Lab:
    """Makes a mount over a store of its own, and a plain directory that holds the same, for each sequence."""

    def __init__(self, root: Path, new_store: Callable[[], Store], *options: str) -> None:
        self._root = root
        self._new_store = new_store
        self._options = ("--block-size", str(BLOCK), *options)
        self._numbers = itertools.count()

    def enter(self, stack: ExitStack, *, foreign: bool, every: int) -> tuple[Twin, Callable[[], None]]:
        """Return the pair, and what compares it at the end. No call hangs for longer than the watchdog waits."""
        store = self._new_store()
        plain = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm", prefix="fusecache-twin-")))
        plain.chmod(0o755)
        for key, data in FOREIGN.items() if foreign else ():
            store.put(key, data)
            (plain / key).parent.mkdir(parents=True, exist_ok=True)
            (plain / key).write_bytes(data)
        mounts = stack.enter_context(watched(Mounts(self._root)))
        mount = mounts(store, *self._options, name=f"m{next(self._numbers)}")
        twin = Twin(mount, plain, every=every)
        stack.callback(twin.let_go)

        def end() -> None:
            twin.end()
            mount.umount()
            # What had been in the store before its directory became staging is moved there.
            objects = {key: data for key, data in store.objects().items() if f"/{STAGING}/" not in f"/{key}"}
            assert objects == drained(plain, is_local), f"other objects after\n{twin}"
            assert "Traceback" not in (mount.cache / "state" / "daemon.log").read_text(), str(twin)

        return twin, end


class Machine(RuleBasedStateMachine):
    """Any of `CALLS`, and something between two of them now and then."""

    lab: ClassVar[Lab]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._is_well = False

    @initialize(foreign=st.booleans(), every=st.sampled_from([1, 1, 5, 0]))
    def begin(self, foreign: bool, every: int) -> None:
        self.twin, self.end = self.lab.enter(self._stack, foreign=foreign, every=every)
        self._is_well = True
        for step in OPENING:
            self.step(step)

    @rule(step=between)
    def disturb(self, step: Step) -> None:
        self.step(step)

    @rule()
    def compare(self) -> None:
        self.step(("compare",))

    def step(self, step: Step) -> None:
        is_well, self._is_well = self._is_well, False
        self.twin.do(step)
        self._is_well = is_well

    def teardown(self) -> None:
        with self._stack:
            if self._is_well:
                self.end()


def _rule(name: str, arguments: tuple[st.SearchStrategy[Any], ...]) -> Callable[..., None]:
    def call(self: Machine, step: Step) -> None:
        self.step(step)

    call.__name__ = name
    return rule(step=st.tuples(st.just(AGAIN.get(name, name)), *arguments))(call)


for _name, _arguments in CALLS.items():
    setattr(Machine, f"call_{_name}", _rule(_name, _arguments))


def is_local(path: Path) -> bool:
    return stat.S_ISFIFO(path.lstat().st_mode) or (path.name == STAGING and path.is_dir() and not path.is_symlink())


def explore(lab: Lab, examples: int) -> None:
    run_state_machine_as_test(
        type("Explored", (Machine,), {"lab": lab}),
        settings=settings(
            max_examples=EXAMPLES or examples,
            stateful_step_count=150,
            deadline=None,
            phases=[Phase.generate],  # to shrink takes a mount a try: minutes
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.fixture
def file_lab(tmp_path: Path) -> Callable[..., Lab]:
    numbers = itertools.count()
    return lambda *options: Lab(tmp_path, lambda: file_store(tmp_path / f"s{next(numbers)}"), *options)


@pytest.fixture(autouse=True)
def _attributes() -> None:
    """tmpfs never gives an inode number twice; some kernels have no attributes there."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        try:
            os.setxattr(file.fileno(), "user.a", b"")
        except OSError as exc:
            pytest.skip(f"NOT TESTED: the plain side would be /dev/shm, which has no user attributes ({exc})")


@pytest.mark.parametrize(("foreign", "every", "steps"), FOUND)
@pytest.mark.parametrize("delay", ["1h", "0s"])
def test_what_was_found_once(
    file_lab: Callable[..., Lab], delay: str, foreign: bool, every: int, steps: list[Step]
) -> None:
    with ExitStack() as stack:
        twin, end = file_lab("--persist-delay", delay).enter(stack, foreign=foreign, every=every)
        for step in steps:
            twin.do(step)
        end()


@pytest.mark.parametrize("delay", ["1h", "0s"])
def test_a_mount_is_a_plain_directory(file_lab: Callable[..., Lab], delay: str) -> None:
    """Nothing drains but at the steps that say so; or whatever was closed, at once."""
    explore(file_lab("--persist-delay", delay), 4)


@pytest.fixture
def s3_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Over a server in another process: this one's threads stand still while it waits for a page of a mapping."""
    with running("moto", tmp_path / "moto.log", os.environ) as server:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        with closing(server.client()) as client:
            bucket = new_bucket(server)

            def new_store() -> Store:
                return s3_store("moto", client, server.endpoint_url, bucket, prefix=f"{uuid.uuid4().hex}/")

            yield Lab(tmp_path, new_store, "--persist-delay", "0s")


def test_a_mount_of_a_bucket_is_a_plain_directory(s3_lab: Lab) -> None:
    explore(s3_lab, 2)
