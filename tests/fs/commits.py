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
                self.found[above, marker] = Commit(told)

    def broken(self, bucket: Mapping[str, bytes]) -> list[str]:
        """What a reader finds who believes the markers in the bucket, but those that were replaced in one call."""
        return [
            f"{above + name} is {bucket.get(above + name)!r} under {marker!r}, which is {_lives(commit)}, not {data!r}"
            for (above, marker), commit in self.found.items()
            if bucket.get(above + MARKER) == marker and not commit.is_replaced
            for name, data in commit.files.items()
            if bucket.get(above + name) != data
        ]

    def _is_live(self, above: str, marker: bytes) -> bool:
        commit = self.found.get((above, marker))
        return commit is not None and commit.is_live


class ReadStore(ForeignStore):
    """Somebody reads it before and after every request that writes."""

    def __init__(self, commits: Commits) -> None:
        super().__init__()
        self._commits = commits
        self.broken: list[str] = []

    def _tick(self) -> None:
        super()._tick()
        self.broken += self._commits.broken(self.objects())


def is_marker(path: str) -> bool:
    return path.rpartition("/")[2] == MARKER


def _lives(commit: Commit) -> str:
    return "live" if commit.is_live else "removed"
