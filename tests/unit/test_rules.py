"""Rules by path: which of them count for what."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.config.rules import FOR_EVER_S, Policy, Rule, Rules
from fusecache.errors import ConfigError


def names(path: str) -> list[bytes]:
    return [name.encode() for name in path.split("/") if name]


def matches(glob: str, path: str) -> bool:
    return Rules([Rule(path=glob, write_mode="local")]).of(names(path)).write_mode == "local"


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("/", "", True),
        ("/", "a/b", True),
        ("/**", "a", True),
        ("/**", "", False),
        ("/scratch", "scratch", True),
        ("/scratch", "scratch/a/b", True),
        ("/scratch", "scratches", False),
        ("/scratch", "a/scratch", False),
        ("/scratch/**", "scratch", False),
        ("/scratch/**", "scratch/a", True),
        ("/scratch/**", "scratch/a/b/c", True),
        ("/scratch/*", "scratch/a/b", True),
        ("/w/*.csv", "w/a.csv", True),
        ("/w/*.csv", "w/a.csv/b", True),
        ("/w/*.csv", "w/d/a.csv", False),
        ("/w/**/*.csv", "w/a.csv", True),
        ("/w/**/*.csv", "w/d/e/a.csv", True),
        ("/w/**/*.csv", "v/a.csv", False),
        ("/**/log/**", "log/a", True),
        ("/**/log/**", "a/b/log/c", True),
        ("/**/log/**", "a/b/log", False),
        ("/**/**/x", "x", True),
        ("/a/?", "a/b", True),
        ("/a/?", "a/bc", False),
        ("/a/[!b]", "a/b", False),
        ("/a/[!b]", "a/c", True),
        ("/a/dt=*/", "a/dt=1/x", True),
    ],
)
def test_what_a_path_matches(glob: str, path: str, expected: bool) -> None:
    assert matches(glob, path) is expected


def test_the_last_rule_that_says_something_counts_field_by_field() -> None:
    rules = Rules(
        [
            Rule(path="/w/**", write_mode="writethrough", persist_delay_s=300.0),
            Rule(path="/w/tmp/**", write_mode="local"),
            Rule(path="/w/**/*.keep", write_mode="writeback"),
        ],
        Policy(on_conflict="ours"),
    )
    found = {path: rules.of(names(path)) for path in ("w/a", "w/tmp/a", "w/tmp/a.keep", "v")}
    assert [policy.write_mode for policy in found.values()] == ["writethrough", "local", "writeback", "writeback"]
    assert [policy.persist_delay_s for policy in found.values()] == [300.0, 300.0, 300.0, 1.0]
    assert {policy.on_conflict for policy in found.values()} == {"ours"}


def test_a_later_rule_that_is_wider_counts_nevertheless() -> None:
    rules = Rules([Rule(path="/w/tmp/**", write_mode="local"), Rule(path="/w/**", write_mode="through")])
    assert rules.of(names("w/tmp/a")).write_mode == "through"


def test_patterns_of_all_rules_that_match_come_together() -> None:
    rules = Rules([Rule(path="/w/**", markers=("DONE",)), Rule(path="/w/t/**", markers=("READY",), staging=("_x/",))])
    assert rules.of(names("w/t/a")).markers == ("DONE", "READY")
    assert rules.of(names("w/t/a")).staging == ("_x/",)
    assert rules.of(names("w/a")).markers == ("DONE",)


def test_paths_of_which_the_same_rules_hold_share_what_they_are_told() -> None:
    rules = Rules([Rule(path="/w/**", write_mode="local")])
    assert rules.of(names("w/a")) is rules.of(names("w/b/c"))


def test_what_may_be_kept_below_a_directory() -> None:
    rules = Rules([Rule(path="/a/scratch/**", write_mode="local"), Rule(path="/b/**", write_mode="through")])
    assert [rules.may_keep_below(names(path)) for path in ("", "a", "a/scratch", "a/scratch/x", "a/x", "b")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
    assert Rules([], Policy(write_mode="local")).may_keep_below([])


def test_many_directories_are_forgotten_and_found_again() -> None:
    rules = Rules([Rule(path="/**/local/*", write_mode="local")])
    for n in range(10_000):
        assert rules.of(names(f"{n}/local/f")).write_mode == "local"
    assert len(rules._folders) < 10_000


def test_the_longest_delay() -> None:
    assert Rules().longest_delay_s == 1.0
    assert Rules([Rule(path="/", persist_delay_s=0.1)]).longest_delay_s == 1.0
    assert Rules([Rule(path="/a", persist_delay_s=9.0), Rule(path="/b")]).longest_delay_s == 9.0


FRESH = Rules(
    [
        Rule(path="/lake/**", freshness="never"),
        Rule(path="/lake/live", ttl_s=5.0),
        Rule(path="/lake/*/*.tmp", freshness="always"),
        Rule(path="/**/now/**", freshness="always"),
    ],
    Policy(ttl_s=60.0),
)


@pytest.mark.parametrize(
    ("path", "expected_s"),
    [
        ("", 60.0),
        ("lake", 60.0),
        ("lake/a", FOR_EVER_S),
        ("lake/live", 5.0),  # a time alone ends the `never` of the wider rule
        ("lake/live/a/b", 5.0),
        ("lake/a/b.tmp", 0.0),
        ("x/y/now", 60.0),
        ("x/y/now/a", 0.0),
    ],
)
def test_how_long_a_path_is_believed(path: str, expected_s: float) -> None:
    assert FRESH.of(names(path)).fresh_s == expected_s


@pytest.mark.parametrize(
    ("path", "expected_s"),
    [
        ("", 60.0),
        ("lake", 5.0),  # `live`
        ("lake/live", 0.0),  # some names may be *.tmp
        ("lake/live/a", 5.0),
        ("lake/b/c", FOR_EVER_S),
        ("x/now", 0.0),
        ("x", 60.0),
    ],
)
def test_names_of_a_directory_are_believed_as_long_as_the_one_that_is_believed_least(
    path: str, expected_s: float
) -> None:
    assert FRESH.fresh_s_in(names(path)) == expected_s


def test_the_longest_time_anything_is_believed() -> None:
    assert FRESH.longest_fresh_s == FOR_EVER_S
    assert Rules([Rule(path="/a", ttl_s=90.0)]).longest_fresh_s == 90.0
    assert not Rules([Rule(path="/a", write_mode="local")]).has_freshness


def test_a_path_begins_at_the_mount_point() -> None:
    with pytest.raises(ConfigError, match="begins with a slash"):
        Rule(path="warehouse/**")


PART = st.sampled_from(["a", "b", "*", "**", "a*", "?b", "ab"])
NAME = st.sampled_from(["a", "b", "ab", "bb"])


def by_regex(parts: list[str], path: list[str]) -> bool:
    """The same by another road: some way down to the path matches as a whole."""
    expression = ""
    for n, part in enumerate(parts):
        if part != "**":
            expression += fnmatch.translate(part).removesuffix(r"\Z").replace(".", "[^/]") + "/"
        else:
            expression += "(?:[^/]+/)" + ("+" if n == len(parts) - 1 else "*")
    ways = ("".join(f"{name}/" for name in path[:depth]) for depth in range(len(path) + 1))
    return any(re.fullmatch(expression, way) for way in ways)


@given(st.lists(PART, max_size=5), st.lists(NAME, max_size=6))
def test_matching_name_by_name_is_matching_the_whole(parts: list[str], path: list[str]) -> None:
    assert matches("/" + "/".join(parts), "/".join(path)) is by_regex(parts, path)
