"""Rules of the house that no linter knows: sizes, one clock, no swallowed errors."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fusecache"
OURS = ("fusecache", "tests", "bench")
"""Where a file that holds two things is split: tests are read as often as what they test."""
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
WALL_CLOCK = frozenset({"building.py", "volume.py"})
"""Modules that may read the wall clock themselves; the others get it by constructor (mtimes) or use trio's."""

Rule = Callable[[ast.Module], Iterator[str]]


def long_functions(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            length = node.end_lineno - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {length} lines"


def wall_clock_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.time", "time.time_ns"):
            yield f"{node.lineno}: {ast.unparse(node.func)}()"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (
                f"{node.lineno}: from time import {a.name}" for a in node.names if a.name in ("time", "time_ns")
            )


def swallowed_exceptions(tree: ast.Module) -> Iterator[str]:
    """Find `except Exception` (or wider) whose body does nothing."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        broad = node.type is None or bool({"Exception", "BaseException"} & set(_names(node.type)))
        if broad and all(isinstance(each, ast.Pass | ast.Continue) for each in node.body):
            yield f"{node.lineno}: a broad except that swallows"


def _names(expression: ast.expr) -> list[str]:
    parts = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return [ast.unparse(part) for part in parts]


def mutable_globals(tree: ast.Module) -> Iterator[str]:
    """Find `global` statements: state that no constructor handed over."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"{node.lineno}: global {', '.join(node.names)}"


def broken(rule: Rule, *, but: frozenset[str] = frozenset()) -> list[str]:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert modules
    return [
        f"{module.relative_to(ROOT)}:{finding}"
        for module in modules
        if str(module.relative_to(PACKAGE)) not in but
        for finding in rule(ast.parse(module.read_text()))
    ]


def test_no_file_is_too_long() -> None:
    files = [path for folder in OURS for path in (ROOT / folder).rglob("*.py")]
    assert {path.relative_to(ROOT).parts[0] for path in files} == set(OURS)
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files}
    assert not {path: length for path, length in lengths.items() if length > MAX_FILE_LINES}


@pytest.mark.parametrize("rule", [long_functions, swallowed_exceptions, mutable_globals])
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    found = broken(rule)
    assert not found, "\n".join(found)


def test_the_wall_clock_is_read_in_few_places() -> None:
    found = broken(wall_clock_calls, but=WALL_CLOCK)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (long_functions, "def f():\n" + "    x = 1\n" * MAX_FUNCTION_LINES),
        (wall_clock_calls, "import time\nx = time.time()"),
        (wall_clock_calls, "from time import time_ns"),
        (swallowed_exceptions, "try:\n    f()\nexcept Exception:\n    pass"),
        (swallowed_exceptions, "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
        (swallowed_exceptions, "try:\n    f()\nexcept:\n    pass"),
        (mutable_globals, "def f():\n    global x\n    x = 1"),
    ],
)
def test_a_broken_rule_is_found(rule: Rule, source: str) -> None:
    assert list(rule(ast.parse(source)))
