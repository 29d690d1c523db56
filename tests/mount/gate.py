"""An S3 server that does not answer what it is told not to, until it is told otherwise."""

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
    """Holds requests for one key."""

    inner: Wsgi
    key: str | None = None
    """Requests for it wait while the gate is closed."""
    arrived: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.key is not None and environ["PATH_INFO"].endswith(f"/{self.key}"):
            self.arrived.set()
            self.opened.wait(_LONGEST_S)
        return self.inner(environ, start_response)

    def close(self, key: str) -> None:
        self.key = key
        self.arrived.clear()
        self.opened.clear()


@contextmanager
def gated_server() -> Iterator[tuple[S3Server, Gate]]:
    """Run moto behind a gate, which is open at first and at the end."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    gate = Gate(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, gate, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield S3Server("gated", f"http://127.0.0.1:{server.server_port}", checks_credentials=False), gate
    finally:
        gate.opened.set()
        server.shutdown()
        thread.join()
        server.server_close()
