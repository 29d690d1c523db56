"""Runs pjdfstest and compares what it reports with the one list of cases that need not pass."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60  # four seconds on a free machine
EXPECTED = Path(__file__).with_name("expected.toml")
PLAYERS = ("nobody", "daemon")
"""Two users that every distribution has: some cases change identity."""

_CONFIG = """
[features]
posix_fallocate = {{}}  # where the kernel has no fallocate (EOPNOTSUPP), the C library writes zeros instead
rename_ctime = {{}}
utime_now = {{}}
utimensat = {{}}

[settings]
naptime = 0.01  # the kernel stamps by ticks of up to 10 ms; we ourselves by the nanosecond
allow_remount = {allow_remount}

[dummy_auth]
entries = [{entries}]
"""
# Without this flag, mount(8) hands a remount to the file system's own mount program, and none knows remounts.
_MOUNT = '#!/bin/sh\nexec {mount} --internal-only "$@"\n'

_CASE = re.compile(r"^([a-z_0-9]+(?:::[a-z_0-9]+)+) +(ok|FAILED|skipped)$")
_SUMMARY = re.compile(r"^Summary: .* (\d+) total$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How one case ended: `ok`, `failed` or `skipped`, and what was said about it."""

    status: str
    detail: str = ""


def run(program: Path, directory: Path, work: Path) -> dict[str, Outcome]:
    """Run every case below `directory`, as root, with notes in `work`, which is on another file system.

    The cases that remount are run by a process of their own: others leak descriptors of removed files,
    and a file system with one of those is busy.
    """
    outcomes = _run(program, directory, work, allow_remount=False)
    return outcomes | _run(program, directory, work, "erofs", allow_remount=True)


def parse(report: str) -> dict[str, Outcome]:
    """Return every case of a report.

    Raises:
        ValueError: the report doesn't end with a summary of as many cases.
    """
    outcomes: dict[str, Outcome] = {}
    name = ""
    for line in report.splitlines():
        if found := _CASE.match(line):
            name = found[1]
            outcomes[name] = Outcome(found[2].lower())
        elif name and line.startswith(("\t", "  left", " right")):
            outcomes[name] = Outcome(outcomes[name].status, f"{outcomes[name].detail} {line.strip()}".strip())
    total = _SUMMARY.search(report)
    if total is None or int(total[1]) != len(outcomes):
        raise ValueError(f"{len(outcomes)} cases in a report that ends with:\n{report[-2000:]}")
    return outcomes


def expected(path: Path = EXPECTED) -> dict[str, str]:
    """Return the cases that need not pass, and how each of them ends instead."""
    groups = tomllib.loads(path.read_text())["group"]
    return {case: group["status"] for group in groups for case in group["cases"]}


def deviations(outcomes: Mapping[str, Outcome], listed: Mapping[str, str]) -> Iterator[str]:
    """Say where cases and list differ, in either direction."""
    for case in sorted(outcomes.keys() | listed.keys()):
        outcome, wanted = outcomes.get(case), listed.get(case, "ok")
        if outcome is None:
            yield f"{case}: listed, and there is no such case"
        elif outcome.status != wanted and not (wanted == "either" and outcome.status in ("ok", "failed")):
            yield f"{case}: {outcome.status} instead of {wanted} {outcome.detail}".rstrip()


def _run(program: Path, directory: Path, work: Path, *patterns: str, allow_remount: bool) -> dict[str, Outcome]:
    config = work / "pjdfstest.toml"
    config.write_text(_CONFIG.format(allow_remount=str(allow_remount).lower(), entries=", ".join(_entries())))
    mount = work / "bin" / "mount"
    mount.parent.mkdir(exist_ok=True)
    mount.write_text(_MOUNT.format(mount=shutil.which("mount")))
    mount.chmod(0o755)
    done = subprocess.run(
        [program, "-c", config, "-p", directory, "-s", work, *patterns],
        env=os.environ | {"PATH": f"{mount.parent}:{os.environ['PATH']}", "NO_COLOR": "1", "RUST_BACKTRACE": "0"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,  # the report says it better
    )
    return parse(done.stdout or done.stderr)


def _entries() -> Iterator[str]:
    for name in PLAYERS:
        yield f'["{name}", "{grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name}"]'
