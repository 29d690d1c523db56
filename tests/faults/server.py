"""The proxy as tests use it: a process of its own, which shares no interpreter with what it measures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.faults.proxy import Record
from tests.faults.rules import Fault, Limit, Rules
from tests.servers import S3Server

_ROOT = Path(__file__).resolve().parents[2]
_END_S = 5.0


class FaultServer:
    """A store behind a proxy that is told, at any time, what to do to requests. Threads may share it."""

    def __init__(self, process: subprocess.Popen[str], store: S3Server) -> None:
        self._process = process
        self._lock = threading.Lock()
        self.store = store
        """The store itself, for whoever looks without being counted."""
        self.server = replace(store, endpoint_url=f"http://127.0.0.1:{self._read()}")
        """What is mounted."""
        self._told = 0

    def follow(self, rules: Rules) -> None:
        """Judge requests by these from now on; those before are over, or go on by the old ones."""
        self._ask({"rules": rules.to_json()})

    def fail(self, *faults: Fault) -> None:
        self.follow(Rules(faults=faults))

    def limit(self, *limits: Limit) -> None:
        self.follow(Rules(limits=limits))

    def heal(self) -> None:
        """Do nothing to anybody."""
        self.follow(Rules())

    def news(self) -> list[Record]:
        """Return the requests that have ended since the last call."""
        found = [Record(*each) for each in self._ask({"records": self._told})]
        self._told += len(found)
        return found

    def counts(self) -> Counter[str]:
        """Return how many requests of each name have ended since the last call, or the last `news`."""
        return Counter(record.operation for record in self.news())

    def _ask(self, command: dict[str, Any]) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the proxy has ended: {self._process.wait(_END_S)}"
        return json.loads(line)


@contextmanager
def fault_server(store: S3Server) -> Iterator[FaultServer]:
    """Run a proxy in front of `store` for the block; it does nothing to anybody at first."""
    url = urlsplit(store.endpoint_url)
    command = [sys.executable, "-m", "tests.faults", str(url.hostname), str(url.port)]
    process = subprocess.Popen(command, cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            yield FaultServer(process, store)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
