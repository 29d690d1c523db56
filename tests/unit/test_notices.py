"""What a message of a queue tells: S3's own form, SNS around it, EventBridge's, and what is none of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusecache.backends.notices import Notice, notices_of
from fusecache.types import ETag


def record(name: str, key: str, etag: str | None = "abc") -> dict[str, Any]:
    told = {"key": key, "sequencer": "0055AED6DCD90281E5"} | ({} if etag is None else {"eTag": etag, "size": 1})
    return {"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": "lake"}, "object": told}}


CREATED = Notice("lake", "d/a", ETag("abc"), is_gone=False)
GONE = Notice("lake", "d/a", None, is_gone=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ObjectCreated:Put", CREATED),
        ("ObjectCreated:Copy", CREATED),
        ("s3:ObjectCreated:CompleteMultipartUpload", CREATED),
        ("ObjectRestore:Completed", CREATED),
        ("ObjectRemoved:Delete", GONE),
        ("ObjectRemoved:DeleteMarkerCreated", GONE),
        ("LifecycleExpiration:Delete", GONE),
    ],
)
def test_what_became_of_an_object(name: str, expected: Notice) -> None:
    assert notices_of(json.dumps({"Records": [record(name, "d/a")]})) == [expected]


@pytest.mark.parametrize(
    ("told", "key"),
    [("a+b%2Bc.txt", "a b+c.txt"), ("d/%C3%A9%25", "d/é%"), ("year%3D2024/part-0", "year=2024/part-0"), ("d/", "d/")],
)
def test_keys_are_encoded(told: str, key: str) -> None:
    notices = notices_of(json.dumps({"Records": [record("ObjectCreated:Put", told)]}))
    assert notices is not None
    assert [each.key for each in notices] == [key]


def test_a_message_may_tell_of_many_also_without_an_etag() -> None:
    body = json.dumps({"Records": [record("ObjectCreated:Put", "a", None), record("ObjectRemoved:Delete", "b", None)]})
    assert notices_of(body) == [Notice("lake", "a", None, is_gone=False), Notice("lake", "b", None, is_gone=True)]


def test_wrapped_by_sns() -> None:
    inner = json.dumps({"Records": [record("ObjectCreated:Put", "d/a")]})
    assert notices_of(json.dumps({"Type": "Notification", "TopicArn": "arn:x", "Message": inner})) == [CREATED]


@pytest.mark.parametrize(("kind", "is_gone"), [("Object Created", False), ("Object Deleted", True)])
def test_by_way_of_eventbridge_keys_are_as_they_are(kind: str, is_gone: bool) -> None:
    detail = {"bucket": {"name": "lake"}, "object": {"key": "a+b %41", "etag": "abc"}, "reason": "PutObject"}
    told = notices_of(json.dumps({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail}))
    assert told == [Notice("lake", "a+b %41", None if is_gone else ETag("abc"), is_gone)]


def test_the_test_of_a_configuration_tells_nothing() -> None:
    assert notices_of(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "lake"})) == []


@pytest.mark.parametrize(
    "body",
    [
        "", "hello", "null", "[]", "3", "{}", '{"Records": 3}', '{"Records": [3]}', '{"Records": [{}]}',
        '{"Type": "Notification"}', '{"Type": "Notification", "Message": "hello"}', '{"source": "aws.s3"}',
        '{"source": "aws.ec2", "detail-type": "Object Created"}', '{"Records": [{"eventName": 3, "s3": {}}]}',
        "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_notice(body: str) -> None:
    assert notices_of(body) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["Records", "s3", "object", "key", "eTag", "bucket", "name", "eventName", "Type", "Message", "source", "detail"]
    ), inner, max_size=4),
)  # fmt: skip


@given(JSON)
def test_whatever_comes_is_understood_or_not(told: object) -> None:
    notices_of(json.dumps(told))
