"""A mount whose daemon systemd starts again: the unit as it is installed, and a systemd as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.mount.cli import ROOT, TIMEOUT_S
from tests.mount.harness import open_directory
from tests.mount.managed import NO_SYSTEMD, SYSTEMD

pytestmark = [pytest.mark.mount, pytest.mark.slow]

ALONE = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Whatever is started and mounted there ends with it."""


def test_systemd_keeps_the_connection_for_the_next_daemon() -> None:
    if os.geteuid() or not SYSTEMD.exists() or shutil.which("systemctl") is None:
        pytest.skip("NOT TESTED: there is no systemd, or nobody who may give it a namespace")
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 9):
        pytest.skip("NOT TESTED: kernels before 6.9 ask nothing again")
    with open_directory() as here:
        command = [*ALONE, sys.executable, "-m", "tests.mount.managed", here]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * TIMEOUT_S, check=False)
    if done.returncode == NO_SYSTEMD:
        pytest.skip("NOT TESTED: systemd does not run here")
    assert done.returncode == 0, done.stdout + done.stderr
