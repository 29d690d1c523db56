"""The unit file is one that systemd takes without a word."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "systemd" / "fusecache@.service"


def verify(unit: Path) -> str:
    """Return what `systemd-analyze verify` says, which for unknown keys is words and exit status 0."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here (Debian package systemd): the unit file is NOT checked")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ended.stdout + ended.stderr + (f"exit {ended.returncode}" if ended.returncode else "")


@pytest.mark.slow
def test_the_unit_is_right() -> None:
    assert verify(UNIT) == ""


@pytest.mark.slow
def test_a_misspelt_key_is_found(tmp_path: Path) -> None:
    broken = tmp_path / UNIT.name
    broken.write_text(UNIT.read_text().replace("KillMode=", "KillMood="))
    assert "KillMood" in verify(broken)
