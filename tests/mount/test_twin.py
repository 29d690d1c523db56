"""Random calls on a mount and on a plain directory, with drains, evictions, remounts and kills between any two.

`FUSECACHE_TWIN_EXAMPLES` says how many sequences, of 150 calls each. A thousand on each of the three stores take two to
three hours: `TEST_TIMEOUT_S=20000 FUSECACHE_TWIN_EXAMPLES=1000 script/test mount -k plain_directory`, with another
`--hypothesis-seed` for others. What one prints can be pasted into `FOUND`.
"""

from __future__ import annotations

import itertools
import os
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

from fusecache.cache.holes import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE
from script.s3_server import running
from tests.amounts import amount
from tests.conftest import new_bucket
from tests.mount.calls import Step
from tests.mount.harness import Store, file_store, s3_store
from tests.mount.lab import BLOCK, STAGING, Lab

pytestmark = [pytest.mark.mount, pytest.mark.slow]

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
    "CREAT NOFOLLOW", "CREAT DIRECTORY", "NOFOLLOW TRUNC", "CREAT SYNC", "PATH",
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
    "allocate": (
        slots,
        st.sampled_from([0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE]),
        offsets,
        sizes,
    ),
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

DISTURBANCES: dict[Step | None, int] = {
    None: 172, ("flush",): 10, ("pause", 0.02): 4, ("compare",): 6,
    ("kill",): 4, ("evict",): 2, ("remount",): 1, ("remount", "--no-flush"): 1,
}  # fmt: skip
"""What comes between two calls, and how often: that a daemon starts costs as much time as a hundred calls."""
between = st.sampled_from([step for step, count in DISTURBANCES.items() for _ in range(count)])

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
    # Nor what had been cut of a file that an open for reading had created.
    (False, 1, [("open", 0, "a", "RDONLY CREAT", 0o644), ("truncate", "a", 5), ("kill",)]),
]  # fmt: skip
"""Whether over `FOREIGN`, after how many steps it looks, and the steps."""


class Machine(RuleBasedStateMachine):
    """Any of `CALLS`, and something between two of them now and then."""

    lab: ClassVar[Lab]

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()

    @initialize(foreign=st.booleans(), every=st.sampled_from([1, 1, 5, 0]))
    def begin(self, foreign: bool, every: int) -> None:
        self.twin = self._stack.enter_context(self.lab.directory(foreign=foreign, every=every))
        for step in OPENING:
            self.twin.do(step)

    def teardown(self) -> None:
        self._stack.close()


def _rule(name: str, arguments: tuple[st.SearchStrategy[Any], ...]) -> Callable[..., None]:
    def call(self: Machine, step: Step, then: Step | None) -> None:
        self.twin.do(step)
        if then is not None:
            self.twin.do(then)

    call.__name__ = name
    return rule(step=st.tuples(st.just(AGAIN.get(name, name)), *arguments), then=between)(call)


for _name, _arguments in CALLS.items():
    setattr(Machine, f"call_{_name}", _rule(_name, _arguments))


def explore(lab: Lab, examples: int) -> None:
    run_state_machine_as_test(
        type("Explored", (Machine,), {"lab": lab}),
        settings=settings(
            max_examples=amount("FUSECACHE_TWIN_EXAMPLES", usual=examples, soak=400),
            stateful_step_count=150,
            phases=[Phase.generate],  # to shrink takes a mount a try: minutes
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.fixture(scope="module", params=["1h", "0s"])
def file_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Nothing drains but at the steps that say so; or whatever was closed, at once."""
    root, numbers = tmp_path_factory.mktemp("t"), itertools.count()
    lab = Lab(root, lambda: file_store(root / f"s{next(numbers)}"), "--persist-delay", request.param)
    with lab.opened():
        yield lab


@pytest.fixture(autouse=True)
def _attributes() -> None:
    """tmpfs never gives an inode number twice; some kernels have no attributes there."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        try:
            os.setxattr(file.fileno(), "user.a", b"")
        except OSError as exc:
            pytest.skip(f"NOT TESTED: the plain side would be /dev/shm, which has no user attributes ({exc})")


@pytest.mark.parametrize(("foreign", "every", "steps"), FOUND)
def test_what_was_found_once(file_lab: Lab, foreign: bool, every: int, steps: list[Step]) -> None:
    with file_lab.directory(foreign=foreign, every=every) as twin:
        for step in steps:
            twin.do(step)


def test_a_mount_is_a_plain_directory(file_lab: Lab) -> None:
    explore(file_lab, 8)


def test_a_mount_of_a_bucket_is_a_plain_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is in another process: this one's threads stand still while it waits for a page of a mapping."""
    with ExitStack() as stack:
        server = stack.enter_context(running("moto", tmp_path / "moto.log", os.environ))
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        client = stack.enter_context(closing(server.client()))
        bucket = new_bucket(server)

        def new_store() -> Store:
            return s3_store("moto", client, server.endpoint_url, bucket, prefix=f"{uuid.uuid4().hex}/")

        explore(stack.enter_context(Lab(tmp_path, new_store, "--persist-delay", "0s").opened()), 4)
