"""What a reader of the bucket may conclude from a commit marker, and whether it is true after every request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.fs.foreign import ForeignStore

MARKER = "_SUCCESS"
Files = dict[str, bytes]


@dataclass
class Commit:
    """A marker of this content vouched for these files, by their names in its directory."""

    files: Files
    is_moved: bool
    """It was somewhere else before: with its directory, or by its own name."""
    is_live: bool = True
    """While it is in the tree, who changes a file means to; once it is removed, readers must not see later changes."""
    is_replaced: bool = False
    """By another marker, in one call: the old one is in the store until that is."""


@dataclass
class Commits:
    """Every commit that was ever acknowledged: a directory, and what its marker holds."""

    found: dict[tuple[str, bytes], Commit] = field(default_factory=dict)

    def acknowledge(self, tree: Mapping[str, bytes], is_local: Callable[[str], bool]) -> None:
        """The tree is this after a call: paths to what the files hold."""
        files = {path: data for path, data in tree.items() if not is_local(path)}
        live = {path.rpartition(MARKER)[0]: data for path, data in files.items() if is_marker(path)}
        for (above, marker), commit in self.found.items():
            commit.is_replaced = commit.is_replaced or (commit.is_live and live.get(above, marker) != marker)
            commit.is_live = commit.is_live and live.get(above) == marker
            if commit.is_live:
                commit.files = {name: data for name, data in commit.files.items() if files.get(above + name) == data}
        for above, marker in live.items():
            below = {path[len(above) :]: data for path, data in files.items() if path.startswith(above)}
            told = {name: data for name, data in below.items() if not is_marker(name)}
            if not self._is_live(above, marker):
                is_moved = any(marker == other for _, other in self.found)
                self.found[above, marker] = Commit(told, is_moved)

    def broken(self, bucket: Mapping[str, bytes], *, is_strict: bool) -> list[str]:
        """What a reader finds who believes the markers in the bucket; not `is_strict`: those that never moved."""
        return [
            f"{above + name} is {bucket.get(above + name)!r} under {marker!r}, which is {_lives(commit)}, not {data!r}"
            for (above, marker), commit in self.found.items()
            if bucket.get(above + MARKER) == marker and _is_believed(commit, is_strict=is_strict)
            for name, data in commit.files.items()
            if bucket.get(above + name) != data
        ]

    def _is_live(self, above: str, marker: bytes) -> bool:
        commit = self.found.get((above, marker))
        return commit is not None and commit.is_live


class ReadStore(ForeignStore):
    """Somebody reads it before and after every request that writes."""

    def __init__(self, commits: Commits, *, is_strict: bool) -> None:
        """`is_strict`: readers also believe what was moved or removed here, as long as it is in the store."""
        super().__init__()
        self._commits = commits
        self._is_strict = is_strict
        self.broken: list[str] = []

    def _tick(self) -> None:
        super()._tick()
        self.broken += self._commits.broken(self.objects(), is_strict=self._is_strict)


def is_marker(path: str) -> bool:
    return path.rpartition("/")[2] == MARKER


def _is_believed(commit: Commit, *, is_strict: bool) -> bool:
    return not commit.is_replaced if is_strict else commit.is_live and not commit.is_moved


def _lives(commit: Commit) -> str:
    return "removed" if not commit.is_live else "moved" if commit.is_moved else "live"
