"""A store that refuses some keys for good: they are stuck, kept and told, and nothing else waits for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.rules import Do, Fault
from tests.faults.server import FaultServer
from tests.mount.harness import Mounts, Store, soon, tree

pytestmark = [pytest.mark.mount, pytest.mark.slow]

REFUSED = Fault(do=Do.ANSWER, status=403, code="AccessDenied", kinds=("write",), suffix="/secret")


def test_what_is_refused_is_stuck_and_the_others_go_on(mounts: Mounts, store: Store, faults: FaultServer) -> None:
    mount = mounts(store)
    faults.fail(REFUSED)
    for table in ("a", "b"):
        (mount.path / table).mkdir()
        for name in ("1", "2", "3"):
            (mount.path / table / name).write_bytes(name.encode())
    (mount.path / "a" / "secret").write_bytes(b"4")
    (mount.path / "a" / "_SUCCESS").write_bytes(b"")
    (mount.path / "b" / "_SUCCESS").write_bytes(b"")
    expected = tree(mount.path)

    done = mount.run("flush", "--json", "--deadline", "50s", mount.path)
    assert done.returncode == 5, done.stderr
    stuck = {Path(each["path"]).name: each["error"] for each in json.loads(done.stdout)["stuck"]}
    assert "AccessDenied" in stuck["secret"]
    late = {"a/secret", "a/_SUCCESS"}  # the marker would tell of data that isn't there
    assert store.objects() == {key: data for key, data in expected.items() if key not in late}
    assert tree(mount.path) == expected

    faults.heal()
    mount.umount("--no-flush")
    mount.mount()  # after which nothing waits for longer than the delay
    soon(lambda: mount.run("flush", "--deadline", "50s", mount.path).returncode == 0, "it is still stuck")
    assert store.objects() == expected
