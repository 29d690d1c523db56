"""Spark as pip installs it: pinned, a third of a gigabyte, and fetched into `.tools/` when a test first asks for it."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
LOCK = ROOT / "requirements-spark.lock"
JAVA = 17
INSTALL_TIMEOUT_S = 900  # half a minute where the archive is near


class JavaMissing(Exception):
    """Nothing here runs Spark."""


def spark_directory(tools: Path = TOOLS, lock: Path = LOCK, python: str = sys.executable) -> Path:
    """Return the directory below `tools` that Python imports the pinned pyspark from, and that holds its jars.

    Raises:
        JavaMissing: there is no Java that runs it.
        CalledProcessError: pip could not install it; what it said went to stderr.
    """
    _need_java()
    directory = tools / "spark"
    tools.mkdir(exist_ok=True)
    with (tools / "spark-lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two runs of one checkout install it once
        stamp = directory / "installed.lock"
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            _install(directory, lock, python)
            shutil.copyfile(lock, stamp)
    return directory


def _need_java() -> None:
    java = shutil.which("java")
    if java is None:
        raise JavaMissing(f"no java on PATH; it takes Java {JAVA}")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) != JAVA:
        raise JavaMissing(f"{java} is not Java {JAVA}: {told.strip().partition(chr(10))[0]}")


def _install(directory: Path, lock: Path, python: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    # It comes as an archive of sources: the locked build tools make the wheel, not what pip would fetch unpinned.
    how = ["--require-hashes", "--no-build-isolation", "--no-compile", "--target", str(directory)]
    subprocess.run([*pip, *how, "-r", str(lock)], stdin=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S, check=True)
