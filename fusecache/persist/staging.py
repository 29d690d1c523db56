"""Which names stay local until they are renamed, and which tell readers that a tree is complete."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

from fusecache.config.rules import Rules

_NOTHING = re.compile(r"(?!)")
_WILD = re.compile(r"[*?[]")


class Patterns:
    """The name patterns of a mount, compiled, and what its rules say besides: of some paths all stays local.

    Names are bytes; patterns are fnmatch's, case-sensitive.
    """

    def __init__(self, *, staging: Sequence[str], markers: Sequence[str], rules: Rules | None = None) -> None:
        """`staging`: one component each, a trailing slash: directories only.

        `markers`: a name, or a directory and what is below it (`_delta_log/*`).
        """
        self._everywhere = _Names(staging, markers)
        self._rules = rules or Rules()
        self.staging_said = repr((staging, self._rules.staging_said))
        """Another one when other names are staging."""
        self.marker_heads = tuple(sorted({_WILD.split(each)[0] for each in (*markers, *self._rules.markers_said)}))
        """What the key of any commit marker begins with, below the tree that it vouches for."""
        self._more: dict[tuple[tuple[str, ...], tuple[str, ...]], _Names] = {}

    def is_staging(self, names: Sequence[bytes]) -> bool:
        """Whether a path, a name a component, is below or at a staging name, or local by a rule.

        The last name counts as a file's; for a directory append an empty name.
        """
        path = names if names[-1] else names[:-1]
        if self._rules.of(path).write_mode == "local" or self._everywhere.is_staging(names):
            return True
        more = self._of(path)
        return more is not None and more.is_staging(names)

    def marked_depth(self, names: Sequence[bytes]) -> int | None:
        """If the path is a commit marker: how many of its names lead to the tree that it vouches for."""
        depth = self._everywhere.marked_depth(names)
        more = self._of(names) if depth is None else None
        return depth if more is None else more.marked_depth(names)

    def tree_of(self, key: str) -> str | None:
        """If an object's key is a commit marker's: the prefix of the tree that it vouches for."""
        components = key.split("/")
        depth = self.marked_depth([component.encode() for component in components]) if components[-1] else None
        return None if depth is None else "".join(f"{component}/" for component in components[:depth])

    def _of(self, names: Sequence[bytes]) -> _Names | None:
        policy = self._rules.of(names)
        if not policy.staging and not policy.markers:
            return None
        said = policy.staging, policy.markers
        if said not in self._more:
            self._more[said] = _Names(*said)
        return self._more[said]


class _Names:
    """Patterns that hold of the same paths."""

    def __init__(self, staging: Sequence[str], markers: Sequence[str]) -> None:
        self._directories = _any_of([pattern.removesuffix("/") for pattern in staging])
        self._names = _any_of([pattern for pattern in staging if not pattern.endswith("/")])
        self._marker_names = _any_of([pattern for pattern in markers if "/" not in pattern])
        self._marker_trees = [
            (_any_of([above]), _any_of([below]))
            for above, slash, below in (pattern.partition("/") for pattern in markers)
            if slash
        ]

    def is_staging(self, names: Sequence[bytes]) -> bool:
        texts = [_text(name) for name in names]
        return any(map(self._directories.match, texts[:-1])) or self._names.match(texts[-1]) is not None

    def marked_depth(self, names: Sequence[bytes]) -> int | None:
        texts = [_text(name) for name in names]
        for depth in range(len(texts) - 1):
            rest = "/".join(texts[depth + 1 :])
            if any(above.match(texts[depth]) and below.match(rest) for above, below in self._marker_trees):
                return depth
        return len(texts) - 1 if self._marker_names.match(texts[-1]) else None


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else _NOTHING


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
