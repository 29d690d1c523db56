"""A session that expires while the drain is busy, and another one that is there already: nothing is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Servers, use_server
from tests.faults.drain import drain
from tests.faults.jobs import prepare, work, write_table
from tests.faults.rules import Do, Fault
from tests.faults.server import FaultServer, fault_server
from tests.faults.watcher import watching
from tests.mount.harness import Mounts, Store, tree
from tests.servers import ACCESS_KEY, SECRET_KEY

pytestmark = [pytest.mark.mount, pytest.mark.slow]

PARTS = 10


@pytest.fixture
def faults(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """The other servers know no sessions."""
    with fault_server(use_server(servers, "moto", monkeypatch)) as proxy:
        yield proxy


@pytest.fixture
def file(faults: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The credentials of a mount."""
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    return path


def log_in(file: Path, token: str) -> None:
    keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "aws_session_token": token}
    lines = [f"{name} = {value}\n" for name, value in keys.items()]
    file.write_text("[default]\n" + "".join(lines))


@pytest.mark.parametrize("kind", ["write", "copy", "delete", "list", "read"])
def test_a_class_of_requests_hears_first_of_it(
    mounts: Mounts, store: Store, faults: FaultServer, file: Path, kind: str
) -> None:
    log_in(file, "old")
    store.put("foreign/a", b"theirs")
    mount = mounts(store, "--persist-delay", "200ms", "--multipart-threshold", "8M", "--part-size", "5M")
    for name in ("old0", "old1"):
        write_table(mount.path / name, 1, PARTS)
    prepare(mount.path)
    drain(mount)
    with watching(faults.store, store):
        log_in(file, "new")
        faults.news()
        faults.fail(Fault(do=Do.ANSWER, status=400, code="ExpiredToken", token="old", kinds=(kind,)))
        work(mount.path, PARTS)
        assert (mount.path / "foreign" / "a").read_bytes() == b"theirs"
        after = tree(mount.path)
        drain(mount)
    expired = [record for record in faults.news() if record.status == 400]
    assert {record.kind for record in expired} == {kind}
    assert len(expired) <= 64, "what was under way then"
    assert mount.facts()["stuck"] == []
    assert store.objects() == tree(mount.path) == after
