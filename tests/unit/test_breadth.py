from __future__ import annotations

from pathlib import Path

from fusecache.fs.transport.breadth import READ_AHEAD_KIB, widen


def test_the_kernel_is_told_how_far_to_read_ahead(tmp_path: Path) -> None:
    (tmp_path / "0:57").mkdir()
    said = tmp_path / "0:57" / "read_ahead_kb"
    said.write_text("128\n")
    assert widen("0:57", tmp_path)
    assert said.read_text() == f"{READ_AHEAD_KIB}\n"


def test_who_may_not_say_it_goes_on_without(tmp_path: Path) -> None:
    assert not widen("0:57", tmp_path)
