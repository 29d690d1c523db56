"""Real S3 servers on free loopback ports, as context managers: for tests, benchmarks and the demo.

Each ends with its block, also on failure, and by its own process id. They listen on 127.0.0.1 only.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ACCESS_KEY = "AKIAFUSECACHETESTKEY"
"""`rclone serve s3` accepts only keys of this shape: 20 capitals and digits."""
SECRET_KEY = "fusecacheTestSecret/0123456789abcdefghij"
REGION = "us-east-1"
START_TIMEOUT_S = 20.0


class ServerMissing(Exception):
    """The server's program is not on this machine; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server, and how to talk to it."""

    name: str
    endpoint_url: str
    checks_credentials: bool

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to be let in, and to look nowhere else."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str = "s3") -> Any:
        """Return a plain blocking botocore client: the independent witness of what is in the bucket."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )

    def create_bucket(self, bucket: str) -> None:
        client = self.client()
        try:
            client.create_bucket(Bucket=bucket)
        finally:
            client.close()


@contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto in a thread of this process: the whole API, nothing checked, all in memory."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield S3Server("moto", f"http://127.0.0.1:{port}", checks_credentials=False)
    finally:
        server.stop()


@contextmanager
def rclone_server() -> Iterator[S3Server]:
    """Run `rclone serve s3` on a temporary directory."""
    program = find_program("rclone")
    with tempfile.TemporaryDirectory(prefix="fusecache-rclone-") as work:
        port = free_port()
        root = Path(work, "data")
        root.mkdir()
        command = [
            str(program), "serve", "s3", str(root),
            "--config", os.devnull, "--cache-dir", str(Path(work, "cache")),
            "--addr", f"127.0.0.1:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}",
        ]  # fmt: skip
        with _running(command, Path(work, "log"), port):
            yield S3Server("rclone", f"http://127.0.0.1:{port}", checks_credentials=True)


@contextmanager
def versitygw_server() -> Iterator[S3Server]:
    """Run `versitygw posix` on a temporary directory, whose file system must have user attributes."""
    program = find_program("versitygw")
    with tempfile.TemporaryDirectory(prefix="fusecache-versitygw-") as work:
        port = free_port()
        root = Path(work, "data")
        root.mkdir()
        command = [
            str(program), "--access", ACCESS_KEY, "--secret", SECRET_KEY, "--region", REGION,
            "--port", f"127.0.0.1:{port}", "--quiet", "--keep-alive", "posix", str(root),
        ]  # fmt: skip
        with _running(command, Path(work, "log"), port):
            yield S3Server("versitygw", f"http://127.0.0.1:{port}", checks_credentials=True)


SERVERS = {"moto": moto_server, "rclone": rclone_server, "versitygw": versitygw_server}


def find_program(name: str) -> Path:
    """Return the path of a server's program.

    Looked for beside the interpreter (PyPI's binaries), in `$FUSECACHE_TOOLS`, in the checkout's
    `.tools/bin` and on PATH.

    Raises:
        ServerMissing: it is in none of them.
    """
    checkout = Path(__file__).resolve().parent.parent
    places = [Path(sys.executable).parent, checkout / ".tools" / "bin"]
    if tools := os.environ.get("FUSECACHE_TOOLS"):
        places.insert(0, Path(tools))
    found = shutil.which(name, path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")]))
    if found is None:
        raise ServerMissing(f"no {name} in {', '.join(map(str, places))} or on PATH")
    return Path(found)


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait_for_port(process, port, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not listen on port {port}:\n{log.read_text(errors='replace')[-2000:]}")
