"""Any calls in any order, with the persister and the store between them: the tree is what was acknowledged."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusecache.errors import FileSystemError
from fusecache.namespace.lower import Evidence, LowerPrefix
from fusecache.namespace.records import TaskKind
from fusecache.types import ROOT_INO
from tests.amounts import examples
from tests.unit.builders import Upper, an_object, check

_PATHS = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a"]
_VERBS = ("create", "write", "mkdir", "unlink", "rmdir", "rename")
_PERSISTER = ("upload", "copy", "mark", "deletes", "start", "crash", "foreign", "foreign_dir", "vanish")
_steps = st.lists(
    st.tuples(st.sampled_from(_VERBS + _PERSISTER), st.sampled_from(_PATHS), st.sampled_from(_PATHS)), max_size=25
)


@pytest.mark.slow
@settings(max_examples=examples(50))
@given(_steps)
def test_whatever_happens_the_tree_is_what_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    upper = Upper(tmp_path_factory.mktemp("upper") / "namespace.db")
    model: dict[str, int] = {}
    for verb, path, other in steps:
        try:
            _take(upper, model, verb, path, other)
        except (FileSystemError, _NotApplicable):
            pass
        check(upper.ns)
        assert _names(upper) == model
    upper.close()


class _NotApplicable(Exception):
    """The step makes no sense in this state."""


def _take(upper: Upper, model: dict[str, int], verb: str, path: str, other: str) -> None:
    """Carry out one step, and note in `model` what is acknowledged."""
    for each in (path, other):
        if "/" in each and each.rpartition("/")[0] not in model:
            raise _NotApplicable
        if "/" in each and not upper.inode(each.rpartition("/")[0]).is_dir:
            raise _NotApplicable
    if verb in _VERBS:
        if verb == "write" and path in model and upper.inode(path).is_dir:
            raise _NotApplicable
        done = getattr(upper, verb)(*((path, other) if verb == "rename" else (path,)))
        _follow(model, verb, path, other, done)
    elif verb in ("foreign", "foreign_dir", "vanish"):
        _show(upper, model, verb, path)
    elif verb == "crash":
        upper.crash()
    elif verb == "deletes":
        upper.carry_out_deletes()
    else:
        _persist(upper, verb, path)


def _follow(model: dict[str, int], verb: str, path: str, other: str, done: object) -> None:
    if verb in ("create", "write", "mkdir"):
        assert isinstance(done, int)
        model[path] = done
    elif verb in ("unlink", "rmdir"):
        del model[path]
    elif path != other:
        model.pop(other, None)
        for name in [name for name in model if name == path or name.startswith(path + "/")]:
            model[other + name.removeprefix(path)] = model.pop(name)


def _show(upper: Upper, model: dict[str, int], verb: str, path: str) -> None:
    """The store changes behind our back: a name that is ours stays what it is, another follows."""
    row = upper.dentry(path)
    directory = upper.ns.tables.directories.get(upper.place(path).parent)
    if directory.prefix is None:
        raise _NotApplicable
    ours = row is not None and upper.ns.lower.is_ours(row, directory)
    key = directory.prefix + path.rpartition("/")[2]
    evidence: dict[str, Evidence] = {
        "foreign": an_object(key, f"f{upper.tick()}"),
        "foreign_dir": LowerPrefix(key + "/"),
        "vanish": None,
    }
    now = upper.show(path, evidence[verb])
    if ours:
        assert upper.dentry(path) == row
    there = _names(upper)
    for name in [name for name in model if name == path or name.startswith(path + "/")]:
        if name not in there:
            assert not ours
            del model[name]
    if now is not None and now.ino is not None:
        model[path] = now.ino


def _persist(upper: Upper, verb: str, path: str) -> None:
    kind = {"upload": TaskKind.UPLOAD, "start": TaskKind.UPLOAD, "copy": TaskKind.COPY, "mark": TaskKind.MARKER}[verb]
    if upper.state(path) != "live" or upper.ns.tables.tasks.of_inode(upper.ino(path), kind) is None:
        raise _NotApplicable
    if verb == "mark" and upper.ns.tables.dentries.has_live(upper.ino(path)):
        raise _NotApplicable
    getattr(upper, verb)(path)


def _names(upper: Upper) -> dict[str, int]:
    found: dict[str, int] = {}
    pending = [("", ROOT_INO)]
    while pending:
        above, ino = pending.pop()
        for dentry in upper.ns.tables.dentries.children(ino, after=b"", count=1000):
            if dentry.ino is not None:
                path = f"{above}{dentry.name.decode()}"
                found[path] = dentry.ino
                pending.append((path + "/", dentry.ino))
    return found
