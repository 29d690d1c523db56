"""Every fault of a store under reads: the bytes are right or the call fails as documented; nothing wrong is kept."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.rules import Dark, Do, Fault, Rules
from tests.faults.server import FaultServer
from tests.mount.harness import Mount, Mounts, Store

pytestmark = [pytest.mark.mount, pytest.mark.slow]

KIB, MIB = 1 << 10, 1 << 20
LARGE, SMALL = 20 * MIB, 3 * MIB + 5
PASSING = {
    "error": Fault(do=Do.ANSWER, status=500, every=3, kinds=("read",)),
    "throttled": Fault(do=Do.ANSWER, status=503, code="SlowDown", retry_after_s=0.05, every=4, kinds=("read",)),
    "reset": Fault(do=Do.DROP_BEFORE, every=3, kinds=("read",)),
    "answer lost": Fault(do=Do.DROP_AFTER, every=3, kinds=("read",)),
    "cut": Fault(do=Do.CUT_ANSWER, every=2, kinds=("read",)),
    "slow": Fault(do=Do.DELAY, delay_s=0.03, kinds=("read",)),
}
LASTING = {
    "error": (Fault(do=Do.ANSWER, status=500, kinds=("read",)), errno.EIO),
    "reset": (Fault(do=Do.DROP_BEFORE, kinds=("read",)), errno.EIO),
    "cut": (Fault(do=Do.CUT_ANSWER, kinds=("read",)), errno.EIO),
    "denied": (Fault(do=Do.ANSWER, status=403, code="AccessDenied", kinds=("read",)), errno.EACCES),
    "archived": (Fault(do=Do.ANSWER, status=403, code="InvalidObjectState", kinds=("GetObject",)), errno.EIO),
}


@pytest.fixture(scope="module")
def bodies() -> dict[str, bytes]:
    rng = random.Random(11)
    sizes = {f"large-{n}": LARGE for n in range(2)} | {f"small-{n}": SMALL for n in range(3)}
    return {name: rng.randbytes(size) for name, size in sizes.items()}


@pytest.fixture
def patience() -> str:
    return "3s"


@pytest.fixture
def mount(mounts: Mounts, store: Store, bodies: dict[str, bytes], patience: str) -> Mount:
    for name, body in bodies.items():
        store.put(name, body)
    mount = mounts(store, "--patience", patience, "--ttl", "1h")
    assert sorted(os.listdir(mount.path)) == sorted(bodies)
    for name, body in bodies.items():
        assert (mount.path / name).stat().st_size == len(body)
    return mount


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_randomly(path: Path, body: bytes, seed: int) -> None:
    """In order for a while, then anywhere, several at a time."""
    rng = random.Random(seed)
    with opened(path) as descriptor:
        for offset in range(0, len(body) // 3, 256 * KIB):
            assert os.pread(descriptor, 256 * KIB, offset) == body[offset : offset + 256 * KIB]
        for _ in range(15):
            offset, length = rng.randrange(len(body)), rng.randrange(1, 200 * KIB)
            assert os.pread(descriptor, length, offset) == body[offset : offset + length]


def assert_all_is_right(mount: Mount, faults: FaultServer, bodies: dict[str, bytes]) -> None:
    """Read everything, and then once more without the store: what is kept is what is there."""
    faults.heal()
    for path in (mount.path / name for name in bodies):
        assert path.read_bytes() == bodies[path.name]
    faults.follow(Rules(dark=Dark.REFUSES))
    for path in (mount.path / name for name in bodies):
        with opened(path) as descriptor:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # what the kernel has is not what the cache has
        assert path.read_bytes() == bodies[path.name]
    faults.heal()


@pytest.mark.parametrize("patience", ["60s"])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_fails_in_passing_is_read_all_the_same(
    mount: Mount, faults: FaultServer, bodies: dict[str, bytes], fault: Fault
) -> None:
    faults.fail(fault)
    with ThreadPoolExecutor(8) as pool:
        names = [name for name in bodies for _ in range(2)]
        list(pool.map(lambda name, seed: read_randomly(mount.path / name, bodies[name], seed), names, range(99)))
    assert_all_is_right(mount, faults, bodies)


@pytest.mark.parametrize(("fault", "number"), LASTING.values(), ids=LASTING)
def test_what_goes_on_failing_says_so_and_leaves_nothing(
    mount: Mount, faults: FaultServer, bodies: dict[str, bytes], fault: Fault, number: int
) -> None:
    faults.fail(fault)

    def read(name: str) -> None:
        with pytest.raises(OSError, match=os.strerror(number)) as caught, opened(mount.path / name) as descriptor:
            os.pread(descriptor, 100, 70 * KIB)
        assert caught.value.errno == number

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, ("large-0", "small-0")))
    assert_all_is_right(mount, faults, bodies)


def test_an_object_that_is_replaced_under_a_reader_is_never_a_mixture(
    mount: Mount, store: Store, bodies: dict[str, bytes]
) -> None:
    """What is whole here is read on; of what isn't, the rest is gone: ESTALE."""
    with opened(mount.path / "small-1") as whole, opened(mount.path / "large-1") as partial:
        assert os.pread(whole, SMALL, 0) == bodies["small-1"]
        assert os.pread(partial, 4 * KIB, 15 * MIB) == bodies["large-1"][15 * MIB :][: 4 * KIB]
        for name in ("small-1", "large-1"):
            store.put(name, b"new" * len(bodies[name]))
        assert os.pread(whole, SMALL, 0) == bodies["small-1"]
        assert os.pread(partial, 4 * KIB, 15 * MIB) == bodies["large-1"][15 * MIB :][: 4 * KIB]
        with pytest.raises(OSError, match=os.strerror(errno.ESTALE)) as caught:
            os.pread(partial, 4 * KIB, 7 * MIB)
        assert caught.value.errno == errno.ESTALE
