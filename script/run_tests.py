"""Run pytest on folders of tests/ under a deadline, and fail if nothing ran or something was left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusecache.config import transports
from script import leftovers

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ("unit", "fs", "backends", "mount")
SOAK = "soak"
"""Not a folder but an amount: all of them, as tests/amounts.py has it."""
OTHER = "other"
"""Not a folder but a transport: the one that a mount does not have by itself here, with a fourth of the amounts."""
_ON_OTHER = ("conformance", "crash", "mount")
"""What the kernel has a part in."""
TIMEOUT_S = 3600
SOAK_TIMEOUT_S = 12 * 3600
NOTHING_RAN = 5  # pytest's own number for it
USAGE = 2


def main(arguments: list[str]) -> int:
    """Run what `arguments` ask for and return the exit status."""
    count = _leading_words(arguments)
    words, rest = arguments[:count], arguments[count:]
    named = [word for word in words if word not in (SOAK, OTHER)]
    environment = _environment(words)
    try:
        folders = _folders(named or (list(_ON_OTHER) if OTHER in words else ["all"] if SOAK in words else []))
    except ValueError as exc:
        print(exc, file=sys.stderr)
        return USAGE
    # Short, because socket paths end at 107 bytes and pytest puts the test's name into its directories.
    run_directory = Path(tempfile.mkdtemp(prefix="fct."))
    try:
        return _run(folders, rest, run_directory, environment)
    finally:
        shutil.rmtree(run_directory, ignore_errors=True)


def _leading_words(arguments: list[str]) -> int:
    """How many arguments name suites: all up to the first that is no plain word."""
    count = 0
    while count < len(arguments) and arguments[count].isidentifier():
        count += 1
    return count


def _folders(words: list[str]) -> list[Path]:
    """Return the folders that `words` name.

    Raises:
        ValueError: there is no such folder, or it holds no tests.
    """
    present = {path.parent.relative_to(ROOT / "tests").parts[0] for path in (ROOT / "tests").glob("*/**/test_*.py")}
    wanted = words or [name for name in DEFAULT if name in present]
    if "all" in wanted:
        wanted = sorted(present)
    missing = [name for name in wanted if name not in present]
    if missing or not wanted:
        raise ValueError(
            f"no tests in tests/{', tests/'.join(missing or DEFAULT)}; there are: {' '.join(sorted(present))} all"
            f" {SOAK} {OTHER}"
        )
    return [Path("tests", name) for name in wanted]


def _environment(words: Sequence[str]) -> dict[str, str]:
    """Return what the words want set. Without a soak the order of sets, too, is the same each time."""
    wanted = {"FUSECACHE_SOAK": "1"} if SOAK in words else {"PYTHONHASHSEED": "0"}
    if OTHER in words:
        usual = transports.automatic(uid=os.geteuid(), release=os.uname().release, environ={})
        wanted |= {transports.VARIABLE: transports.other(usual)}
        wanted |= {} if SOAK in words else {"FUSECACHE_SHORT": "1"}
    return wanted


def _run(folders: list[Path], rest: list[str], run_directory: Path, wanted: Mapping[str, str]) -> int:
    report = run_directory / "report.xml"
    status = _pytest(folders, rest, run_directory, report, wanted)
    left = leftovers.clean(run_directory)
    for line in left:
        print(f"script/test: {line}", file=sys.stderr)
    if status == 0 and not _ran(report):
        print("script/test: every test was skipped: nothing was tested", file=sys.stderr)
        return NOTHING_RAN
    return status or (1 if left else 0)


def _pytest(folders: list[Path], rest: list[str], run_directory: Path, report: Path, wanted: Mapping[str, str]) -> int:
    limit_s = os.environ.get("TEST_TIMEOUT_S", str(SOAK_TIMEOUT_S if "FUSECACHE_SOAK" in wanted else TIMEOUT_S))
    command = [
        "timeout", "--verbose", "--kill-after=30", *(["--foreground"] if sys.stdout.isatty() else []), limit_s,
        sys.executable, "-m", "pytest", f"--basetemp={run_directory / 't'}", f"--junitxml={report}", "-rs",
        *rest, *map(str, folders),
    ]  # fmt: skip
    environment = os.environ | {"TMPDIR": str(run_directory), leftovers.MARK: str(run_directory), **wanted}
    # No input: a test that asks a person something would wait for ever.
    return subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def _ran(report: Path) -> bool:
    """Whether at least one test was more than skipped."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return any(int(suite.get("tests", 0)) > int(suite.get("skipped", 0)) for suite in suites)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
