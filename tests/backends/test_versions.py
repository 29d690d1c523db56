"""What many keys hold is found whatever lies between and beside them: random buckets, in a client in memory."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from typing import Any, cast

import pytest
import trio
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from fusecache.backends.options import S3Options
from fusecache.backends.pace import unheard
from fusecache.backends.s3.bucket import S3Bucket
from fusecache.backends.s3.client import S3Client
from fusecache.backends.s3.versions import PARALLEL_HEADS, versions_of
from fusecache.errors import AccessDenied, Throttled
from tests.backends.helpers import key

THEN = datetime(2026, 1, 1, tzinfo=UTC)
PREFIX = "p/"
WIDTH = 400
"""Objects a directory: more than a page that is asked for a few keys has."""


class Listed:
    """A bucket that holds every key under the etag that is its name; `refusals` are what it will not tell."""

    def __init__(self, keys: list[str], refusals: dict[str, str] | None = None) -> None:
        self._keys = sorted(keys)
        self._refusals = refusals or {}
        self.asking = 0
        self.asked_at_once = 0

    async def head_object(self, **args: Any) -> dict[str, Any]:
        self.asking += 1
        self.asked_at_once = max(self.asked_at_once, self.asking)
        await trio.lowlevel.checkpoint()
        self.asking -= 1
        name = args["Key"].removeprefix(PREFIX)
        if name in self._refusals:
            raise ClientError({"Error": {"Code": self._refusals[name], "Message": ""}}, "HeadObject")
        if name not in self._keys:
            raise ClientError({"Error": {"Code": "404", "Message": ""}}, "HeadObject")
        return {"ETag": f'"{name}"'}

    async def get_object(self, **args: Any) -> dict[str, Any]:
        """Asked for what a HEAD did not find."""
        await trio.lowlevel.checkpoint()
        assert args["Key"].removeprefix(PREFIX) not in self._keys
        raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")

    async def list_objects_v2(self, **args: Any) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        prefix, limit = args["Prefix"].removeprefix(PREFIX), args["MaxKeys"]
        begin = bisect_right(self._keys, args["StartAfter"].removeprefix(PREFIX))
        below = [name for name in self._keys[begin:] if name.startswith(prefix)]
        page = [{"Key": PREFIX + n, "ETag": f'"{n}"', "Size": 0, "LastModified": THEN} for n in below[:limit]]
        return {"Contents": page} | ({"NextContinuationToken": "more"} if len(below) > limit else {})

    def bucket(self) -> S3Bucket:
        return S3Bucket(cast(S3Client, self), S3Options(bucket="b", prefix=PREFIX), unheard)


def names(directory: int, numbers: range) -> list[str]:
    return [f"d{directory}/{number:04}" for number in numbers]


places = st.sets(st.tuples(st.integers(0, 3), st.integers(0, WIDTH - 1)), max_size=120)


@given(wanted=places, full=st.sets(st.integers(0, 3)), absent=places)
def test_every_key_is_found_or_absent(
    wanted: set[tuple[int, int]], full: set[int], absent: set[tuple[int, int]]
) -> None:
    stored = {name for directory in full for name in names(directory, range(WIDTH))}
    stored |= {f"d{directory}/{number:04}" for directory, number in wanted}
    stored -= {f"d{directory}/{number:04}" for directory, number in absent}
    keys = [key(f"d{directory}/{number:04}") for directory, number in wanted]
    found, _ = trio.run(versions_of, Listed(list(stored)).bucket(), keys)
    assert found == {each: each if each in stored else None for each in keys}


async def test_not_all_are_asked_for_at_once() -> None:
    sparse = [f"{directory:03}/9" for directory in range(60)]
    client = Listed([*sparse, *(f"{directory:03}/9{number:04}" for directory in range(60) for number in range(1001))])
    found, errors = await versions_of(client.bucket(), map(key, sparse))
    assert (found, errors) == (dict(zip(sparse, sparse, strict=True)), {})
    assert client.asked_at_once == PARALLEL_HEADS


@pytest.mark.parametrize(("code", "error"), [("AccessDenied", AccessDenied), ("SlowDown", Throttled)])
async def test_an_error_is_no_answer_and_that_key_s_own(
    code: str, error: type[Exception], autojump_clock: MockClock
) -> None:
    client = Listed(["a", "b", "c"], {"b": code})
    found, errors = await versions_of(client.bucket(), [key("a"), key("b"), key("c")])
    assert found == {"a": "a", "c": "c"}
    assert {each: type(exc) for each, exc in errors.items()} == {"b": error}
    with pytest.raises(error):
        await versions_of(client.bucket(), [key("b")])
