"""What was planned must still hold when it begins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from fusecache.namespace.records import TaskKind
from fusecache.persist.plan import Job
from fusecache.persist.start import set_out
from fusecache.persist.tools import Tools
from fusecache.types import ObjectKey
from tests.unit.builders import Upper, check


@pytest.mark.parametrize("moved", [("d/b", "c"), ("d", "c")], ids=["itself", "above"])
def test_a_relocation_does_not_begin_for_a_name_that_its_directory_has_left(
    tmp_path: Path, moved: tuple[str, str]
) -> None:
    upper = Upper(tmp_path / "namespace.db")
    for path in ("a", "d"):
        upper.mkdir(path)
    upper.persist("a/x")
    upper.rename("a", "d/b")
    job = Job(upper.task(TaskKind.RELOCATE, "d/b"), upper.place("d/b"), ObjectKey("d/b/"))
    tools = cast("Tools", SimpleNamespace(namespace=upper.ns, wall_ns=upper.tick))
    upper.rename(*moved)
    assert set_out(tools, job) is None
    check(upper.ns)
    upper.rename(*reversed(moved))
    begun = set_out(tools, job)
    assert begun is not None
    assert begun.key == "d/b/"
    upper.close()
