"""Programs from crates.io: built once, again for another version, and not at all without cargo."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conformance.crates import VERSIONS, CargoMissing, crate_program

# Does what cargo does, for the last argument `name@version`, and counts.
CARGO = """#!/bin/sh
for last; do :; done
mkdir -p "$TOOLS/bin"
echo "$@" >>"$TOOLS/calls"
printf '#!/bin/sh\\necho %s %s\\n' "${last%@*}" "${last#*@}" >"$TOOLS/bin/${last%@*}"
chmod +x "$TOOLS/bin/${last%@*}"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that the stand-in for cargo installs into."""
    programs = tmp_path / "path"
    programs.mkdir()
    (programs / "cargo").write_text(CARGO)
    (programs / "cargo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("TOOLS", str(tmp_path / "tools"))
    return tmp_path / "tools"


def calls(tools: Path) -> list[str]:
    return (tools / "calls").read_text().splitlines()


def test_a_program_is_built_once(tools: Path) -> None:
    assert crate_program("fsx", tools) == crate_program("fsx", tools) == tools / "bin" / "fsx"
    assert calls(tools) == [f"install --quiet --locked --force --root {tools} fsx@{VERSIONS['fsx']}"]


def test_another_version_is_replaced(tools: Path) -> None:
    program = crate_program("fsx", tools)
    program.write_text("#!/bin/sh\necho fsx 0.0.1\n")
    crate_program("fsx", tools)
    assert len(calls(tools)) == 2


def test_without_cargo_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CargoMissing, match=f"no cargo on PATH to build fsx {VERSIONS['fsx']}"):
        crate_program("fsx", tmp_path / "tools")
