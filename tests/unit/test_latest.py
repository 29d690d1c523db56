"""What is known of our own objects without asking."""

from __future__ import annotations

from fusecache.backends.s3.headers import metadata_of, placement_of
from fusecache.backends.s3.latest import Latest
from fusecache.types import ETag, ObjectKey

KEY, ETAG = ObjectKey("a"), ETag("1")


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_head_is_known_of_the_version_that_was_put() -> None:
    latest = Latest(Clock())
    latest.note(KEY, ETAG, 5, {"mode": "33188"}, {"StorageClass": "STANDARD_IA"})
    head = latest.head(KEY, ETAG)
    assert head is not None
    assert (head["ETag"], head["ContentLength"]) == ('"1"', 5)
    assert metadata_of(head) == {"mode": "33188"}
    assert placement_of(head) == {"StorageClass": "STANDARD_IA"}
    assert latest.head(KEY, ETag("2")) is None
    assert latest.head(ObjectKey("b"), ETAG) is None


def test_a_later_put_replaces_it() -> None:
    latest = Latest(Clock())
    latest.note(KEY, ETAG, 5, {}, {})
    latest.note(KEY, ETag("2"), 6, {}, {})
    assert latest.head(KEY, ETAG) is None
    assert latest.head(KEY, ETag("2")) is not None


def test_it_is_not_believed_for_long() -> None:
    clock = Clock()
    latest = Latest(clock)
    latest.note(KEY, ETAG, 5, {}, {})
    clock.now_s = 301.0
    assert latest.head(KEY, ETAG) is None


def test_the_oldest_are_forgotten() -> None:
    latest = Latest(Clock())
    for number in range((1 << 14) + 1):
        latest.note(ObjectKey(f"{number}"), ETAG, 5, {}, {})
    assert latest.head(ObjectKey("0"), ETAG) is None
    assert latest.head(ObjectKey("1"), ETAG) is not None
