"""An application that does random things in a directory, and writes down outside of it what was acknowledged.

`python driver.py DIRECTORY LOG SEED` goes on until a call fails, as all do when the mount dies. Before each
operation the log says what will be tried, after it that it was done: at most the last one is in doubt.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Tree = dict[str, bytes | None]
"""Paths to bytes, None for a directory."""
NAMES = "abcdefgh"
SIZES = (0, 1, 100, 5_000, 200_000)


class Operation(NamedTuple):
    """`number` makes its bytes unlike those of any other."""

    kind: str
    path: str
    other: str
    offset: int
    size: int
    number: int

    @property
    def data(self) -> bytes:
        unit = f"{self.number}:{self.kind}:{self.path};".encode()
        return (unit * (self.size // len(unit) + 1))[: self.size]


def choose(rng: random.Random, tree: Tree, number: int) -> Operation:
    """Return something that can be done to `tree`."""
    while True:
        kind = rng.choice([*_REAL, "write", "rename"])
        directory = rng.choice(["", *(path for path, data in tree.items() if data is None)])
        fresh = f"{directory}/{rng.choice(NAMES)}".lstrip("/")
        known = rng.choice([*tree, fresh])
        path = fresh if kind in ("write", "mkdir") else known
        operation = Operation(kind, path, fresh, rng.randrange(300_000), rng.choice(SIZES), number)
        if _is_possible(operation, tree) and (kind != "write" or len(tree) < 60):
            return operation


def _is_possible(operation: Operation, tree: Tree) -> bool:
    kind, path, other = operation[:3]
    if kind == "mkdir":
        return path not in tree and path.count("/") < 3
    if kind == "write":
        return tree.get(path, b"") is not None
    if path not in tree:
        return False
    if kind == "rename":
        is_below = other == path or other.startswith(f"{path}/")
        return not is_below and (other not in tree or (tree[path] is not None and tree[other] is not None))
    if kind == "rmdir":
        return tree[path] is None and not any(each.startswith(f"{path}/") for each in tree)
    return tree[path] is not None


# --- for real ---


def _write(root: Path, op: Operation) -> None:
    (root / op.path).write_bytes(op.data)


def _append(root: Path, op: Operation) -> None:
    with (root / op.path).open("ab") as file:
        file.write(op.data)


def _patch(root: Path, op: Operation) -> None:
    descriptor = os.open(root / op.path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, op.data[:5_000], op.offset)
    finally:
        os.close(descriptor)


_REAL: dict[str, Callable[[Path, Operation], object]] = {
    "write": _write,
    "append": _append,
    "patch": _patch,
    "truncate": lambda root, op: os.truncate(root / op.path, op.offset),
    "unlink": lambda root, op: os.unlink(root / op.path),
    "mkdir": lambda root, op: os.mkdir(root / op.path),
    "rmdir": lambda root, op: os.rmdir(root / op.path),
    "rename": lambda root, op: os.rename(root / op.path, root / op.other),
}


# --- and in the model ---


def done(tree: Tree, op: Operation, cut: int | None = None) -> Tree:
    """Return what `tree` is after the operation, or after `cut` bytes of it."""
    after, written = dict(tree), op.data[:cut]
    old = tree.get(op.path) or b""
    match op.kind:
        case "write":
            after[op.path] = written
        case "append":
            after[op.path] = old + written
        case "patch" if written:
            data = written[:5_000]
            after[op.path] = old[: op.offset].ljust(op.offset, b"\0") + data + old[op.offset + len(data) :]
        case "truncate":
            after[op.path] = old[: op.offset].ljust(op.offset, b"\0")
        case "mkdir":
            after[op.path] = None
        case "unlink" | "rmdir":
            del after[op.path]
        case "rename":
            for path in [each for each in tree if each == op.path or each.startswith(f"{op.path}/")]:
                after[op.other + path.removeprefix(op.path)] = after.pop(path)
    return after


def is_between(tree: Tree, op: Operation, found: Tree) -> bool:
    """Whether `found` is `tree` with the operation done, not done, or its bytes cut short by a kill."""
    if found in (tree, done(tree, op)):
        return True
    got = found.get(op.path)
    if got is None or {**found, op.path: b""} != {**tree, op.path: b""}:
        return False
    return any(done(tree, op, cut).get(op.path) == got for cut in _cuts(tree, op, got))


def _cuts(tree: Tree, op: Operation, got: bytes) -> list[int]:
    """After how many bytes a kill may have ended the operation: one write(2) is several requests, cut at pages."""
    match op.kind:
        case "write":
            return [len(got)]
        case "append":
            return [max(0, len(got) - len(tree.get(op.path) or b""))]
        case "patch":
            return [cut for cut in range(5_000) if (op.offset + cut) % 4096 == 0]
    return []


def seen(root: Path) -> Tree:
    """Return what is there."""
    tree: Tree = {}
    for directory, names, files in os.walk(root, onerror=_raise):
        below = os.path.relpath(directory, root)
        prefix = "" if below == "." else f"{below}/"
        tree |= {prefix + name: None for name in names}
        tree |= {prefix + name: Path(directory, name).read_bytes() for name in files}
    return tree


def _raise(error: OSError) -> None:
    raise error


def main(root: Path, log: Path, seed: int) -> None:
    """Do things until one fails."""
    rng, tree = random.Random(seed), seen(root)
    with log.open("a", buffering=1) as lines:
        for number in range(sys.maxsize):
            operation = choose(rng, tree, seed * 1_000_000 + number)
            lines.write(json.dumps(operation) + "\n")
            _REAL[operation.kind](root, operation)
            lines.write("done\n")
            tree = done(tree, operation)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except OSError as error:
        print(error)
