"""Which names stay local until they are renamed, and which tell readers that a tree is complete."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence

_NOTHING = re.compile(r"(?!)")


class Patterns:
    """The name patterns of a mount, compiled. Names are bytes; patterns are fnmatch's, case-sensitive."""

    def __init__(self, *, staging: Sequence[str], markers: Sequence[str]) -> None:
        """`staging`: one component each, a trailing slash: directories only.

        `markers`: a name, or a directory and what is below it (`_delta_log/*`).
        """
        self._directories = _any_of([pattern.removesuffix("/") for pattern in staging])
        self._names = _any_of([pattern for pattern in staging if not pattern.endswith("/")])
        self._marker_names = _any_of([pattern for pattern in markers if "/" not in pattern])
        self._marker_trees = [
            (_any_of([above]), _any_of([below]))
            for above, slash, below in (pattern.partition("/") for pattern in markers)
            if slash
        ]

    def is_staging(self, names: Sequence[bytes]) -> bool:
        """Whether a path, a name a component, is below or at a staging name.

        The last name counts as a file's; for a directory append an empty name.
        """
        texts = [_text(name) for name in names]
        return any(map(self._directories.match, texts[:-1])) or self._names.match(texts[-1]) is not None

    def marked_depth(self, names: Sequence[bytes]) -> int | None:
        """If the path is a commit marker: how many of its names lead to the tree that it vouches for."""
        texts = [_text(name) for name in names]
        for depth in range(len(texts) - 1):
            rest = "/".join(texts[depth + 1 :])
            if any(above.match(texts[depth]) and below.match(rest) for above, below in self._marker_trees):
                return depth
        return len(texts) - 1 if self._marker_names.match(texts[-1]) else None

    def tree_of(self, key: str) -> str | None:
        """If an object's key is a commit marker's: the prefix of the tree that it vouches for."""
        components = key.split("/")
        depth = self.marked_depth([component.encode() for component in components]) if components[-1] else None
        return None if depth is None else "".join(f"{component}/" for component in components[:depth])


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns))) if patterns else _NOTHING


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
