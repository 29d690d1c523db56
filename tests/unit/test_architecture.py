"""Imports follow the arrows of docs/architecture.md: document and code cannot drift apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fusecache"
DOCUMENT = ROOT / "docs" / "architecture.md"
FOR_ALL = frozenset({"errors", "nurseries", "types"})


def arrows(document: str) -> dict[str, frozenset[str]]:
    """Return who may import whom, from the one fenced block `arrows` of `document`."""
    blocks = re.findall(r"^```arrows\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1, "docs/architecture.md has one block of arrows"
    table: dict[str, frozenset[str]] = {}
    for line in blocks[0].splitlines():
        source, arrow, targets = line.partition("->")
        assert arrow, f"no arrow in {line!r}"
        assert source.strip() not in table, f"{source.strip()} has two lines"
        table[source.strip()] = frozenset(targets.split())
    return table


def part_of(module: Path) -> str:
    """Return the top folder, or the top module, that a file of the package belongs to."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str, module: Path) -> Iterator[tuple[int, str]]:
    """Yield line and part for each import of something of the package, wherever in the file it stands."""
    package = ("fusecache", *module.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = list(package[: len(package) - node.level + 1]) if node.level else []
            base = above + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name[1]) for name in names if name[0] == "fusecache" and len(name) > 1)


def forbidden(source: str, module: Path, table: dict[str, frozenset[str]]) -> list[str]:
    """Return a line for each import of `module` that no arrow covers."""
    part = part_of(module)
    allowed = table.get(part, frozenset()) | FOR_ALL | {part}
    where = module.relative_to(ROOT)
    return [
        f"{where}:{line}: {part} -> {target} is no arrow of docs/architecture.md"
        for line, target in imported_parts(source, module)
        if target not in allowed
    ]


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_no_import_against_the_arrows() -> None:
    table = arrows(DOCUMENT.read_text())
    against = [line for module in modules() for line in forbidden(module.read_text(), module, table)]
    assert not against, "\n".join(against)


def test_every_part_is_in_the_table() -> None:
    parts = {part_of(module) for module in modules()} - {"__init__"} - FOR_ALL
    assert parts <= arrows(DOCUMENT.read_text()).keys()


def test_the_arrows_make_no_circle() -> None:
    table = arrows(DOCUMENT.read_text())
    done: set[str] = set()
    while leaves := {part for part, targets in table.items() if part not in done and targets <= done | FOR_ALL}:
        done |= leaves
    assert done == table.keys(), f"a circle among {sorted(table.keys() - done)}, or a part without a line"


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("cache", "from fusecache.namespace import inodes"),
        ("cache", "from ..namespace import inodes"),
        ("cache", "from fusecache import namespace"),
        ("cache", "import fusecache.namespace.inodes as inodes"),
        ("cache", "def late():\n    from fusecache.fs import handles"),
        ("cli", "from fusecache.daemon import main"),
        ("backends", "import fusecache.cache"),
    ],
)
def test_an_arrow_that_is_not_there_is_found(part: str, statement: str) -> None:
    assert forbidden(statement, PACKAGE / part / "sample.py", arrows(DOCUMENT.read_text()))


@pytest.mark.parametrize(
    "statement",
    [
        "from fusecache.backends.base import Backend",
        "from . import blocks",
        "from fusecache import errors",
        "import trio",
    ],
)
def test_an_arrow_that_is_there_passes(statement: str) -> None:
    assert not forbidden(statement, PACKAGE / "cache" / "sample.py", arrows(DOCUMENT.read_text()))
