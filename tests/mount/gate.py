"""An S3 server with somebody in front of it: who does not let a request through, or who looks after each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers import S3Server

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_LONGEST_S = 120.0


@dataclass
class Gate:
    """Holds requests for one key, or for all below one."""

    inner: Wsgi
    key: str | None = None
    """Requests for what begins like this wait while the gate is closed."""
    arrived: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.key is not None and f"/{self.key}" in environ["PATH_INFO"]:
            self.arrived.set()
            self.opened.wait(_LONGEST_S)
        return self.inner(environ, start_response)

    def close(self, key: str) -> None:
        self.key = key
        self.arrived.clear()
        self.opened.clear()


@dataclass
class Witness:
    """Looks at the bucket after each request that writes, one at a time."""

    inner: Wsgi
    look: Callable[[], None] | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.look is None or environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return self.inner(environ, start_response)
        with self._turn:
            answer = list(self.inner(environ, start_response))
            self.look()
        return answer


@contextmanager
def gated_server() -> Iterator[tuple[S3Server, Gate]]:
    """Run moto behind a gate, which is open at first and at the end."""
    gate = Gate(_moto())
    with _served(gate) as server:
        try:
            yield server, gate
        finally:
            gate.opened.set()


@contextmanager
def witnessed_server() -> Iterator[tuple[S3Server, Witness]]:
    """Run moto behind a witness, who looks once it is told at what."""
    witness = Witness(_moto())
    with _served(witness) as server:
        yield server, witness


def _moto() -> Wsgi:
    from moto.server import DomainDispatcherApplication, create_backend_app

    app: Wsgi = DomainDispatcherApplication(create_backend_app)
    return app


@contextmanager
def _served(app: Wsgi) -> Iterator[S3Server]:
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield S3Server("moto", f"http://127.0.0.1:{server.server_port}", checks_credentials=False)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
