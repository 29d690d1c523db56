"""Fixtures for every test: real S3 servers, started once a session, and a fresh bucket for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import botocore.session
import pytest
import trio
from botocore.loaders import create_loader
from hypothesis import settings

from tests.amounts import IS_SOAK, SEED
from tests.servers import SERVERS, S3Server, ServerMissing

settings.register_profile("fusecache", deadline=None, derandomize=not IS_SOAK)
settings.load_profile("fusecache")


@pytest.fixture(scope="session", autouse=True)
def _models_are_read_once() -> Iterator[None]:
    """Each session of botocore decodes megabytes of AWS's models, and each test of a store has one or two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        yield


@pytest.fixture(autouse=True)
def _same_schedule() -> None:
    """Trio draws the order of its tasks: the same each time, but in a soak. pytest-trio has made that all there is."""
    if not IS_SOAK:
        trio._core._run._r.seed(SEED)


class Servers:
    """Starts each kind of server when it is first asked for; they end with the session."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._running: dict[str, S3Server] = {}
        self._buckets: dict[str, str] = {}

    def start(self, name: str) -> S3Server:
        """Return the running server, or skip the test, loudly, if its program isn't here."""
        if name not in self._running:
            try:
                self._running[name] = self._stack.enter_context(SERVERS[name]())
            except ServerMissing as exc:
                pytest.skip(f"NOT TESTED on {name}: {exc}")
        return self._running[name]

    def bucket(self, name: str) -> str:
        """Return one bucket per server, for tests that keep to a prefix of their own (a new one costs 0.1 s)."""
        if name not in self._buckets:
            self._buckets[name] = new_bucket(self.start(name))
        return self._buckets[name]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    running = Servers()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(params=sorted(SERVERS))
def s3_server(request: pytest.FixtureRequest, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Run the test on each server, with its credentials in the environment."""
    return use_server(servers, str(request.param), monkeypatch)


@pytest.fixture
def moto(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server in this process, for tests that need just one."""
    return use_server(servers, "moto", monkeypatch)


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """A new bucket on the server of the test."""
    return new_bucket(s3_server)


def use_server(servers: Servers, name: str, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    server = servers.start(name)
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    for variable, value in server.env.items():
        monkeypatch.setenv(variable, value)
    return server


def new_bucket(server: S3Server) -> str:
    bucket = f"test-{uuid.uuid4().hex[:16]}"
    server.create_bucket(bucket)
    return bucket
