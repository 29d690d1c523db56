"""Names and keys are one to one, whatever either of them holds."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fusecache.errors import NameTooLong
from fusecache.namespace.keys import (
    ESCAPE,
    MAX_NAME_BYTES,
    UNSTORABLE,
    after,
    ancestors,
    component_of,
    name_of,
)

# Bytes that meet the escapes more often than chance would have it.
_PIECES = [b"a", b".", b"\x01", b"\x7f", b"\xc3", b"\xa9", b"\xc3\xa9", b"01", b"2F", b"00", ESCAPE.encode(), b"\xff"]
_odd_names = st.lists(st.sampled_from(_PIECES), max_size=9).map(b"".join)
_any_bytes = st.binary(max_size=40) | _odd_names
names = _any_bytes.map(lambda raw: raw.replace(b"/", b"").replace(b"\0", b"")).filter(
    lambda name: name not in (b"", b".", b"..")
)
_TEXTS = ["a", ".", "\x01", "\x7f", "é", "01", "2F", "00", "2E", "C3", "A9", "E2", "80", "B0", ESCAPE, "\U0001f600"]
_utf8 = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=30)
components = _utf8 | st.lists(st.sampled_from(_TEXTS), max_size=9).map("".join)


@given(names)
@example(ESCAPE.encode())
@example(f"{ESCAPE}{ESCAPE}".encode())
@example(f"{ESCAPE}{ESCAPE}41".encode())
def test_a_name_comes_back_from_its_key(name: bytes) -> None:
    component = component_of(name)
    assert "/" not in component
    assert name_of(component) == name
    component.encode()  # text that a store takes: no lone surrogates


@given(components)
@example("")
@example(".")
@example("..")
@example(ESCAPE)
@example(f"{ESCAPE}01")
@example(f"{ESCAPE}41")
@example(f"{ESCAPE}C3{ESCAPE}A9")
@example(f"{ESCAPE}E2{ESCAPE}80{ESCAPE}B041")
@example(f"{ESCAPE}2F")
@example(f"{ESCAPE}2E{ESCAPE}2E")
def test_a_key_comes_back_from_its_name(component: str) -> None:
    try:
        name = name_of(component)
    except NameTooLong:
        assume(False)
    assert name not in (b"", b".", b"..")
    assert b"/" not in name
    assert component_of(name) == component


@given(names, names)
def test_two_names_never_share_a_key(one: bytes, other: bytes) -> None:
    assert (component_of(one) == component_of(other)) == (one == other)


@given(components, components)
def test_two_keys_never_share_a_name(one: str, other: str) -> None:
    assert (name_of(one) == name_of(other)) == (one == other)


@given(names.filter(lambda name: name not in UNSTORABLE))
def test_what_can_be_created_has_a_key_that_a_store_takes(name: bytes) -> None:
    assert component_of(name) not in ("", ".", "..")


@pytest.mark.parametrize(
    ("name", "component"),
    [
        (b"part-00000.parquet", "part-00000.parquet"),
        ("Grüße".encode(), "Grüße"),
        (b"a=b c+d%20", "a=b c+d%20"),
        (b"tab\there", f"tab{ESCAPE}09here"),
        (b"\xff\xfe", f"{ESCAPE}FF{ESCAPE}FE"),
        (f"5{ESCAPE}".encode(), f"5{ESCAPE}E2{ESCAPE}80{ESCAPE}B0"),
    ],
)
def test_what_a_bucket_shows(name: bytes, component: str) -> None:
    assert component_of(name) == component
    assert name_of(component) == name


@pytest.mark.parametrize("component", ["x" * 256, "é" * 128, "a\0b", ESCAPE * 85])
def test_what_no_directory_can_hold_is_refused(component: str) -> None:
    with pytest.raises(NameTooLong):
        name_of(component)


def test_the_longest_name_is_a_name() -> None:
    assert name_of("x" * MAX_NAME_BYTES) == b"x" * MAX_NAME_BYTES


def test_the_prefixes_above_a_key() -> None:
    assert ancestors("a/b/c") == ["a/", "a/b/"]
    assert ancestors("a/b/") == ["a/"]
    assert ancestors("a") == []


@given(components.filter(bool), components)
def test_what_is_after_a_prefix_is_after_all_of_its_keys(prefix: str, rest: str) -> None:
    assert (prefix + "/").encode() <= f"{prefix}/{rest}".encode() < after(prefix + "/").encode()
