"""A program that runs Spark: a cluster on this machine, and an answer on stdout for each line of JSON on stdin.

Runs by itself, with any Python that finds pyspark, as whoever Spark is to be. Arguments: a directory of its own, and
a JSON object of Spark's settings. The cluster has two workers that are told apart by their addresses: a task is
started a second time on another host only, and never in a single process.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from py4j.java_gateway import JavaGateway
from pyspark import SparkConf, SparkContext
from pyspark.java_gateway import launch_gateway
from pyspark.sql import SparkSession

HOSTS = ("127.0.0.1", "127.0.0.2")
WORKER_MIB = 1024


class Driver:
    """What can be asked for, by the names of its methods."""

    def __init__(self, work: Path, settings: dict[str, str]) -> None:
        conf = SparkConf()
        for name, value in settings.items():
            conf.set(name, value)
        gateway = launch_gateway(conf)
        conf.setMaster(_start_cluster(gateway, work))
        self._jvm = gateway.jvm
        self._context = SparkContext(conf=conf, appName="tests", gateway=gateway)
        self._session = SparkSession(self._context)

    def sql(self, statement: str) -> list[list[Any]]:
        """Carry out a statement and return its rows; what became of its tasks is in the event log then."""
        try:
            return [list(row) for row in self._session.sql(statement).collect()]
        finally:
            self._context._jsc.sc().listenerBus().waitUntilEmpty()

    def rename(self, source: str, target: str) -> bool:
        """Rename as every committer does, by Hadoop's file system."""
        path = self._jvm.org.apache.hadoop.fs.Path
        return bool(path(source).getFileSystem(self._hadoop()).rename(path(source), path(target)))

    def hive_session(self, scratch: str) -> str:
        """Have Hive start a session, which makes the scratch directory or judges it; return the session's own."""
        hive = self._jvm.org.apache.hadoop.hive
        conf = hive.conf.HiveConf(self._hadoop(), self._hadoop().getClass())  # so that it finds Spark's metastore
        conf.set("hive.exec.scratchdir", scratch)
        session = hive.ql.session.SessionState.start(hive.ql.session.SessionState(conf))
        try:
            return str(hive.ql.session.SessionState.getHDFSSessionPath(conf))
        finally:
            session.close()

    def close(self) -> None:
        self._context.stop()

    def _hadoop(self) -> Any:
        return self._context._jsc.hadoopConfiguration()


def _start_cluster(gateway: JavaGateway, work: Path) -> str:
    """Start a master and workers in the driver's JVM, as LocalSparkCluster does; return the master's URL."""
    jvm = gateway.jvm
    conf = jvm.org.apache.spark.SparkConf(False).set("spark.master.rest.enabled", "false")
    deploy = jvm.org.apache.spark.deploy
    url = deploy.master.Master.startRpcEnvAndEndpoint(HOSTS[0], 0, 0, conf)._1().address().toSparkURL()
    urls = gateway.new_array(jvm.java.lang.String, 1)
    urls[0] = url
    option = jvm.scala.Option
    for number, host in enumerate(HOSTS):
        deploy.worker.Worker.startRpcEnvAndEndpoint(
            host, 0, 0, 1, WORKER_MIB, urls, str(work / f"worker-{number}"), option.apply(number), conf, option.empty()
        )
    return str(url)


def _answer(ask: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"answer": ask(**arguments)}
    except Exception:  # whatever it is, whoever asked is told
        return {"error": traceback.format_exc()}


def main() -> None:
    driver = Driver(Path(sys.argv[1]), json.loads(sys.argv[2]))
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(_answer(getattr(driver, asked.pop("do")), asked)), flush=True)
    driver.close()


if __name__ == "__main__":
    main()
