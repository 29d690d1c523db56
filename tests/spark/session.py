"""Spark as tests use it: statements in, rows out, and what its own records say of tasks and of renames."""

from __future__ import annotations

import json
import os
import pwd
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).with_name("driver.py")
ANSWER_TIMEOUT_S = 120.0
"""The first statement waits for the executors to start, ten seconds on a free machine."""
END_TIMEOUT_S = 30.0
PYTHONS = (sys.executable, "/usr/bin/python3")
"""The first may be in somebody's home, where Spark's user cannot go."""

FELL_BACK = "Falling through to a copy of"
"""What RawLocalFileSystem.rename says, at debug, when rename(2) has failed, whatever the reason was."""
STARTED = "Starting executor ID"
EXECUTORS = 2

_LOGGING = """
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1}: %m%n%ex
logger.rename.name = org.apache.hadoop.fs
logger.rename.level = debug
logger.executor.name = org.apache.spark.executor.Executor
logger.executor.level = info
"""

_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.memory": "512m",
    "spark.executor.memory": "512m",
    "spark.sql.shuffle.partitions": "4",
    "spark.task.maxFailures": "1",
    "spark.eventLog.enabled": "true",
    # Of four tasks the last: whoever takes so long is slow on purpose.
    "spark.speculation": "true",
    "spark.speculation.quantile": "0.5",
    "spark.speculation.minTaskRuntime": "3s",
    "spark.sql.catalogImplementation": "hive",
    "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
    "spark.hadoop.hive.exec.dynamic.partition.mode": "nonstrict",
}


class NoPython(Exception):
    """Spark's user can run no Python that finds Spark."""


def somebody() -> pwd.struct_passwd:
    """Return who runs Spark: of root's mounts a user who is nobody, of a user's that user."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


class Spark:
    """A running cluster: a driver, and two executors with a process each."""

    def __init__(self, process: subprocess.Popen[str], work: Path) -> None:
        """Wait until the driver answers, and until both executors have started."""
        self._process = process
        self.work = work
        self._read("start")
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while sum(STARTED in log for log in self._executor_logs()) < EXECUTORS:
            assert time.monotonic() < deadline, f"no two executors log that they have started:\n{self.log()[-5000:]}"
            time.sleep(0.1)

    def sql(self, statement: str) -> list[list[Any]]:
        """Carry out a statement and return its rows; the driver tells why when it fails."""
        rows: list[list[Any]] = self.ask("sql", statement=statement)
        return rows

    def ask(self, do: str, **arguments: Any) -> Any:
        """Have the driver do something; see there for what there is."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self._read(do)

    def ends(self) -> Counter[str]:
        """Return how many tasks have ended so far in which way, as Spark's event log has it when a job has ended."""
        return Counter(event["Task End Reason"]["Reason"] for event in self._events("SparkListenerTaskEnd"))

    def speculated(self) -> int:
        """Return how many tasks were started a second time so far."""
        return sum(event["Task Info"]["Speculative"] for event in self._events("SparkListenerTaskStart"))

    def fallbacks(self) -> list[str]:
        """Return the renames so far that became copies: of the driver, and of every executor."""
        logs = (*self._executor_logs(), self.log())
        return [line for log in logs for line in log.splitlines() if FELL_BACK in line]

    def log(self) -> str:
        """Return what the driver has logged."""
        return (self.work / "driver.log").read_text(errors="replace")

    def _events(self, kind: str) -> Iterator[dict[str, Any]]:
        for log in (self.work / "events").iterdir():
            yield from (event for event in map(json.loads, log.read_text().splitlines()) if event["Event"] == kind)

    def _executor_logs(self) -> list[str]:
        return [log.read_text(errors="replace") for log in sorted(self.work.glob("worker-*/app-*/*/stderr"))]

    def _read(self, what: str) -> Any:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(ANSWER_TIMEOUT_S) else ""
        if not line:
            self._process.kill()  # nobody is to take a late answer for the next one
        assert line, f"Spark has not answered ({what}):\n{self.log()[-5000:]}"
        told = json.loads(line)
        assert "error" not in told, f"{what}: {told['error'][-5000:]}"
        return told["answer"]


@contextmanager
def spark(directory: Path, work: Path, settings: dict[str, str]) -> Iterator[Spark]:
    """Run pyspark from `directory` for the block, with an empty `work` that its user may write to.

    Raises:
        NoPython: there is none for that user.
    """
    user = somebody()
    for name in ("conf", "events", "tmp"):
        (work / name).mkdir()
    (work / "conf" / "log4j2.properties").write_text(_LOGGING)
    for path in (work, *work.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    options = f"-XX:TieredStopAtLevel=1 -XX:-UsePerfData -Djava.io.tmpdir={work}/tmp -Dderby.system.home={work}/tmp"
    places = {
        "spark.driver.extraJavaOptions": options,
        "spark.executor.extraJavaOptions": options,
        "spark.eventLog.dir": f"file://{work}/events",
    }
    environment = os.environ | {
        "SPARK_CONF_DIR": str(work / "conf"),
        "SPARK_LOCAL_DIRS": str(work / "tmp"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TMPDIR": str(work / "tmp"),
        "HOME": str(work),
    }
    python, environment["PYTHONPATH"] = _python(directory, work, user)
    driver = shutil.copy(DRIVER, work)
    command = [python, driver, str(work), json.dumps(_SETTINGS | places | settings)]
    with (work / "driver.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=work, env=environment, text=True, start_new_session=True, **_as(user),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
    try:
        yield Spark(process, work)
    finally:
        _end(process)


def _as(user: pwd.struct_passwd) -> dict[str, Any]:
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def _python(directory: Path, work: Path, user: pwd.struct_passwd) -> tuple[str, str]:
    """Return a Python that `user` can run, and where that finds pyspark: in a copy, if the checkout is out of reach."""
    for place in (directory, work / "spark"):
        if not place.exists():
            shutil.copytree(directory, place)
        environment = os.environ | {"PYTHONPATH": str(place)}
        for python in PYTHONS:
            try:
                subprocess.run(
                    [python, "-c", "import pyspark"], cwd="/", env=environment, check=True, timeout=60, **_as(user),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            except (PermissionError, FileNotFoundError, subprocess.CalledProcessError):
                continue
            return python, str(place)
    raise NoPython(f"{user.pw_name} can run none of {', '.join(PYTHONS)}")


def _end(process: subprocess.Popen[str]) -> None:
    """End the driver, and with it its cluster; whatever doesn't go is killed."""
    with process:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
