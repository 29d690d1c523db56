"""Run the embedded S3 server until SIGTERM, and print its URL as the only line.

A process of its own, so that it shares no interpreter with what is being shown or measured.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.servers import SERVERS, S3Server

ROOT = Path(__file__).resolve().parent.parent
STOP_TIMEOUT_S = 10.0


def start(name: str, log: Path, environ: Mapping[str, str]) -> tuple[subprocess.Popen[str], S3Server]:
    """Start server `name` of `tests.servers` in a process of its own session, and wait until it listens.

    Raises:
        RuntimeError: it did not start; with the end of its log.
    """
    command = [sys.executable, "-m", "script.s3_server", name]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        stop(process)
        raise RuntimeError(f"the S3 server {name} did not start:\n{log.read_text()[-2000:]}")
    return process, S3Server(name, url, checks_credentials=False)


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def running(name: str, log: Path, environ: Mapping[str, str]) -> Iterator[S3Server]:
    process, server = start(name, log, environ)
    try:
        yield server
    finally:
        stop(process)


def main(name: str) -> None:
    stopping = (signal.SIGTERM, signal.SIGINT)
    # Blocked before the server's threads exist, so that they inherit it and only sigwait sees the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
    with SERVERS[name]() as server:
        print(server.endpoint_url, flush=True)
        signal.sigwait(stopping)


if __name__ == "__main__":
    main(sys.argv[1])
