"""Rules by path: how what is written there gets to the store, and what else holds there.

Of each field the last rule counts that matches the path and sets it; where none does, what the mount was told.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from fusecache.errors import ConfigError

WRITE_MODES = ("writeback", "writethrough", "through", "local")
"""When a close returns: at once; when the object is in the store; the same, and not kept here; at once, for good."""
THROUGH = ("writethrough", "through")
ALLUXIO_MODES = {
    "ASYNC_THROUGH": "writeback",
    "CACHE_THROUGH": "writethrough",
    "THROUGH": "through",
    "MUST_CACHE": "local",
}
CONFLICTS = ("keep-both", "ours", "theirs")
"""What becomes of a version that somebody else put where we write."""
FRESHNESS = ("ttl", "always", "never")
"""How long the store's answers are believed: for a time; not at all, each lookup asks; until a sync."""
FOR_EVER_S = 10 * 365 * 86400.0
DIR_MARKERS = ("empty", "always", "never")
"""Which directories that were made here have the key `dir/` in the store."""

_REMEMBERED = 4096
"""Directories whose rules are known: a few hundred bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for `path` and all below it. None, and no patterns: this rule does not say."""

    path: str
    """A glob from the mount point: `*` and `?` within a name, `**` for any number of directories."""
    write_mode: str | None = None
    persist_delay_s: float | None = None
    on_conflict: str | None = None
    dir_markers: str | None = None
    local_ttl_s: float | None = None
    freshness: str | None = None
    ttl_s: float | None = None
    """Alone, it means the freshness `ttl`, too."""
    staging: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ConfigError(f"the path of a rule begins with a slash, which is the mount point: {self.path!r}")

    @property
    def keeps_files(self) -> bool:
        """Whether it may say of a file that it stays here."""
        return self.write_mode == "local" or bool(self.staging)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """What holds for one path. One object for all paths of which the same rules hold."""

    write_mode: str = "writeback"
    persist_delay_s: float = 1.0
    on_conflict: str = "keep-both"
    dir_markers: str = "empty"
    local_ttl_s: float | None = None
    """After so long without a change what is local is removed; None: never."""
    freshness: str = "ttl"
    ttl_s: float = 60.0
    staging: tuple[str, ...] = ()
    """Of the rules alone: on top of the mount's."""
    markers: tuple[str, ...] = ()

    @property
    def waits_for_store(self) -> bool:
        """Whether a close returns when the object is in the store."""
        return self.write_mode in THROUGH

    @property
    def fresh_s(self) -> float:
        """How long an answer of the store is believed, also that there is nothing."""
        return {"always": 0.0, "never": FOR_EVER_S}.get(self.freshness, self.ttl_s)


class Rules:
    """The rules of a mount, compiled. Asking costs about a microsecond once the directory is known."""

    def __init__(self, rules: Iterable[Rule] = (), default: Policy | None = None) -> None:
        self.given = tuple(rules)
        self.default = default or Policy()
        """What holds where no rule says anything."""
        self._globs = tuple(_Glob(rule.path) for rule in self.given)
        self._policies: dict[int, Policy] = {0: self.default}
        self._root = self._folder(tuple(glob.start for glob in self._globs))
        self._folders: dict[tuple[bytes, ...], _Folder] = {}

    def __repr__(self) -> str:
        return f"<Rules {len(self.given)}>"

    @cached_property
    def has_delays(self) -> bool:
        """Whether there is any path that has a delay of its own."""
        return any(rule.persist_delay_s is not None for rule in self.given)

    @cached_property
    def has_local_ttl(self) -> bool:
        """Whether there may be a file that is removed when it is old."""
        return any(said is not None for said in self._said("local_ttl_s"))

    @cached_property
    def longest_delay_s(self) -> float:
        longest: float = max(said for said in self._said("persist_delay_s") if said is not None)
        return longest

    @cached_property
    def keeps_files(self) -> bool:
        """Whether there is any rule, or the mount itself, by which files stay here."""
        return self.default.write_mode == "local" or any(rule.keeps_files for rule in self.given)

    @cached_property
    def staging_said(self) -> object:
        """What the mount and its rules say of what stays here: another one when that is otherwise."""
        said = ((rule.path, rule.write_mode and rule.write_mode == "local", rule.staging) for rule in self.given)
        return self.default.write_mode == "local", [each for each in said if each[1:] != (None, ())]

    @cached_property
    def marks_otherwise(self) -> bool:
        """Whether there may be a directory whose key in the store is not just there while it is empty."""
        return any(said not in (None, "empty") for said in self._said("dir_markers"))

    @cached_property
    def markers_said(self) -> tuple[str, ...]:
        """The patterns of commit markers that rules bring, for whatever path."""
        return tuple(pattern for said in self._said("markers") for pattern in said)

    @cached_property
    def has_freshness(self) -> bool:
        """Whether there is any path that is believed for another time than the mount says."""
        return any(rule.freshness is not None or rule.ttl_s is not None for rule in self.given)

    @cached_property
    def longest_fresh_s(self) -> float:
        said = [FOR_EVER_S if rule.freshness == "never" else rule.ttl_s or 0.0 for rule in self.given]
        return max(self.default.fresh_s, *said, self.default.ttl_s)

    @cached_property
    def waits_for_store(self) -> bool:
        """Whether there may be a file whose close waits for the store."""
        return any(said in THROUGH for said in self._said("write_mode"))

    def of(self, names: Sequence[bytes]) -> Policy:
        """Return what holds for a path, a name a component; none: the root."""
        if not self.given:
            return self.default
        if not names:
            return self._policy(self._root.states)
        folder = self._folder_of(tuple(names[:-1]))
        if folder.of_all is not None:
            return folder.of_all
        return self._policy(self._below(folder.states, names[-1]))

    def may_keep_below(self, names: Sequence[bytes]) -> bool:
        """Whether a rule may say of something at or below a directory that it stays here."""
        if self.default.write_mode == "local":
            return True
        states = self._folder_of(tuple(names)).states
        return any(state and rule.keeps_files for rule, state in zip(self.given, states, strict=True))

    def fresh_s_in(self, names: Sequence[bytes]) -> float:
        """How long it is believed which names a directory has: as long as the one that is believed least."""
        states = self._folder_of(tuple(names)).states
        policy, least_s = self.default, FOR_EVER_S
        for rule, glob, state in zip(self.given, self._globs, states, strict=True):
            if state == _YES or glob.takes_all(state):
                policy, least_s = _with(policy, rule), FOR_EVER_S
            elif glob.may_take(state):
                least_s = min(least_s, _with(policy, rule).fresh_s)
        return min(policy.fresh_s, least_s)

    def _said(self, field: str) -> list[Any]:
        """What the mount and its rules say of something; None: a rule that doesn't."""
        return [getattr(each, field) for each in (self.default, *self.given)]

    def _folder_of(self, names: tuple[bytes, ...]) -> _Folder:
        if not names:
            return self._root
        folder = self._folders.get(names)
        if folder is None:
            above = self._folder_of(names[:-1])
            folder = self._folder(self._below(above.states, names[-1]))
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            self._folders[names] = folder
        return folder

    def _folder(self, states: tuple[_State, ...]) -> _Folder:
        is_settled = all(state in (_NO, _YES) for state in states)
        return _Folder(states, self._policy(states) if is_settled else None)

    def _below(self, states: tuple[_State, ...], name: bytes) -> tuple[_State, ...]:
        text = name.decode("utf-8", "surrogateescape")
        return tuple(glob.step(state, text) for glob, state in zip(self._globs, states, strict=True))

    def _policy(self, states: tuple[_State, ...]) -> Policy:
        held = sum(1 << n for n, state in enumerate(states) if state == _YES)
        policy = self._policies.get(held)
        if policy is None:
            policy = self.default
            for n, rule in enumerate(self.given):
                if held >> n & 1:
                    policy = _with(policy, rule)
            self._policies[held] = policy
        return policy


_State = frozenset[int]
"""How many parts of a glob the path so far may stand for."""
_NO: _State = frozenset()
_YES: _State = frozenset({-1})
"""It matches, and so does all that is below."""


class _Folder(NamedTuple):
    """What a directory says of the paths in it."""

    states: tuple[_State, ...]
    of_all: Policy | None
    """None: names decide."""


class _Glob:
    """A path pattern, followed name by name."""

    def __init__(self, path: str) -> None:
        parts = [part for part in path.split("/") if part]
        if parts and parts[-1] == "**":  # what is below, which is what any name in it begins
            parts[-1] = "*"
        self._ends_in_all = parts[-1:] == ["*"]
        self._parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self.start = self._closed({0})

    def step(self, state: _State, name: str) -> _State:
        """The state one name deeper."""
        if state in (_NO, _YES):
            return state
        after: set[int] = set()
        for at in state:
            part = self._parts[at]
            if part is None:
                after.add(at)
            elif part.match(name):
                after.add(at + 1)
        return self._closed(after)

    def may_take(self, state: _State) -> bool:
        """Whether there are names that lead to a match at once."""
        return len(self._parts) - 1 in state

    def takes_all(self, state: _State) -> bool:
        """Whether every name does."""
        return self.may_take(state) and self._ends_in_all

    def _closed(self, positions: set[int]) -> _State:
        """With what `**` may stand for: nothing at all."""
        for at in sorted(positions):
            while at < len(self._parts) and self._parts[at] is None:
                at += 1
                positions.add(at)
        return _YES if len(self._parts) in positions else frozenset(positions)


def _with(policy: Policy, rule: Rule) -> Policy:
    said = {each.name: getattr(rule, each.name) for each in fields(rule) if each.name != "path"}
    if rule.ttl_s is not None and rule.freshness is None:
        said["freshness"] = "ttl"
    said |= {name: (*getattr(policy, name), *said[name]) for name in ("staging", "markers")}
    return replace(policy, **{name: value for name, value in said.items() if value is not None})
