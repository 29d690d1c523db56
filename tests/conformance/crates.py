"""Test programs from crates.io: pinned, and built into `.tools/` when a test first asks for one."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

VERSIONS = {"fsx": "0.3.2", "pjdfstest": "0.2.2"}
TOOLS = Path(__file__).resolve().parents[2] / ".tools"
BUILD_TIMEOUT_S = 900  # half a minute each on two free cores


class CargoMissing(Exception):
    """A program has to be built, and nothing here builds it."""


def crate_program(name: str, tools: Path = TOOLS) -> Path:
    """Return the path of the program that crate `name` installs below `tools`, at its pinned version.

    Raises:
        CargoMissing: it isn't here, and there is no cargo.
        CalledProcessError: cargo could not build it; what it said went to stderr.
    """
    program = tools / "bin" / name
    tools.mkdir(exist_ok=True)
    with (tools / "crates-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of one checkout build it once
        if _version(program) != VERSIONS[name]:
            _build(name, tools)
    return program


def _version(program: Path) -> str | None:
    if not program.exists():
        return None
    told = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    return told.split()[-1] if told else None


def _build(name: str, tools: Path) -> None:
    cargo = shutil.which("cargo")
    if cargo is None:
        raise CargoMissing(f"no cargo on PATH to build {name} {VERSIONS[name]} with")
    command = [cargo, "install", "--quiet", "--locked", "--force", "--root", str(tools), f"{name}@{VERSIONS[name]}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=BUILD_TIMEOUT_S, check=True)
