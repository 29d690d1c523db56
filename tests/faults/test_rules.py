"""What is asked, where it ends and what becomes of it: everything about the proxy that needs no socket."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.framing import Chunks, has_body, parse
from tests.faults.operations import Operation, operation_of
from tests.faults.rules import PASSED, Dark, Do, Fault, Judge, Limit, Rules

PUT = Operation("PutObject", "t/a")
GET = Operation("GetObject", "t/a")


@pytest.mark.parametrize(
    ("method", "target", "is_copy", "name", "key"),
    [
        ("PUT", "/b/t/a%20b", False, "PutObject", "t/a b"),
        ("PUT", "/b/t/a", True, "CopyObject", "t/a"),
        ("PUT", "/b/a?partNumber=1&uploadId=x", False, "UploadPart", "a"),
        ("PUT", "/b/a?partNumber=1&uploadId=x", True, "UploadPartCopy", "a"),
        ("POST", "/b/a?uploads", False, "CreateMultipartUpload", "a"),
        ("POST", "/b/a?uploadId=x", False, "CompleteMultipartUpload", "a"),
        ("DELETE", "/b/a?uploadId=x", False, "AbortMultipartUpload", "a"),
        ("DELETE", "/b/a", False, "DeleteObject", "a"),
        ("POST", "/b?delete", False, "DeleteObjects", ""),
        ("HEAD", "/b/d/", False, "HeadObject", "d/"),
        ("GET", "/b/a?x-id=GetObject", False, "GetObject", "a"),
        ("GET", "/b/a?tagging", False, "GetObjectTagging", "a"),
        ("GET", "/b?list-type=2&prefix=t%2F&encoding-type=url", False, "ListObjectsV2", "t/"),
        ("GET", "/b?uploads", False, "ListMultipartUploads", ""),
        ("PUT", "/b", False, "CreateBucket", ""),
        ("HEAD", "/b", False, "HeadBucket", ""),
    ],
)
def test_operations(method: str, target: str, is_copy: bool, name: str, key: str) -> None:
    assert operation_of(method, target, is_copy=is_copy) == Operation(name, key)


def test_every_nth_request_of_its_kind_fails() -> None:
    judge = Judge(Rules(faults=(Fault(do=Do.ANSWER, every=3, kinds=("write",), status=500),)))
    fates = [judge.judge(each, 0.0).do for each in (PUT, GET, PUT, PUT, PUT, PUT, PUT)]
    assert fates == [None, None, None, Do.ANSWER, None, None, Do.ANSWER]


def test_a_fault_is_for_keys() -> None:
    judge = Judge(Rules(faults=(Fault(do=Do.DROP_AFTER, prefix="t/", suffix="a"),)))
    assert judge.judge(PUT, 0.0).do is Do.DROP_AFTER
    assert judge.judge(Operation("PutObject", "t/b"), 0.0) == PASSED
    assert judge.judge(Operation("PutObject", "u/a"), 0.0) == PASSED


def test_a_fault_of_a_session() -> None:
    judge = Judge(Rules(faults=(Fault(do=Do.ANSWER, status=400, code="ExpiredToken", token="old"),)))
    head = parse(b"PUT /b/t/a HTTP/1.1\r\nX-Amz-Security-Token: old\r\n\r\n")
    expired = operation_of("PUT", "/b/t/a", is_copy=False, token=head.token)
    assert judge.judge(expired, 0.0).code == "ExpiredToken"
    assert judge.judge(PUT, 0.0) == judge.judge(PUT._replace(token="new"), 0.0) == PASSED


def test_a_limit_lets_through_its_burst_and_then_its_rate() -> None:
    judge = Judge(Rules(limits=(Limit(per_s=10, burst=5, kinds=("write",), retry_after_s=2.0),)))
    let_through = [at for at in range(2000) if judge.judge(PUT, at / 1000).do is None]
    assert len(let_through) == 5 + 19
    refused = judge.judge(PUT, 2.0)
    assert (refused.status, refused.code, refused.retry_after_s) == (503, "SlowDown", 2.0)
    assert judge.judge(GET, 2.0) == PASSED


def test_limits_of_prefixes_are_apart() -> None:
    judge = Judge(Rules(limits=(Limit(per_s=1, burst=1, prefix="t/"), Limit(per_s=1, burst=1, prefix="u/"))))
    assert [judge.judge(each, 0.0).do for each in (PUT, PUT, Operation("PutObject", "u/a"))] == [None, Do.ANSWER, None]


def test_what_stays_of_the_rules_keeps_its_tokens() -> None:
    limit = Limit(per_s=1, burst=1)
    judge = Judge(Rules(limits=(limit,)))
    judge.judge(PUT, 0.0)
    judge.follow(Rules(limits=(limit, Limit(per_s=1, burst=1, kinds=("read",)))))
    assert judge.judge(PUT, 0.0).do is Do.ANSWER


def test_rules_travel() -> None:
    fault = Fault(do=Do.CUT_ANSWER, kinds=("read", "list"), delay_s=0.5)
    rules = Rules(limits=(Limit(per_s=1, burst=2, kinds=("write",)),), faults=(fault,), dark=Dark.SWALLOWS)
    assert Rules.from_json(json.loads(json.dumps(rules.to_json()))) == rules


def test_heads() -> None:
    head = parse(b"PUT /b/a HTTP/1.1\r\nHost: x\r\ncontent-Length: 12\r\nExpect: 100-continue\r\n\r\n")
    assert head.first == ("PUT", "/b/a", "HTTP/1.1")
    assert (head.length, head.is_chunked, head.closes, head.expects, head.is_copy) == (12, False, False, True, False)
    answer = parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    assert (answer.status, answer.length, answer.is_chunked, answer.closes) == (200, None, True, True)
    assert has_body(answer, "GET")
    assert not has_body(answer, "HEAD")
    assert not has_body(parse(b"HTTP/1.1 204 No Content\r\n\r\n"), "DELETE")


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=4),
    trailers=st.lists(st.just(b"x-sum: 1"), max_size=2),
    step=st.integers(1, 30),
)
def test_a_chunked_body_ends_where_it_ends(chunks: list[bytes], trailers: list[bytes], step: int) -> None:
    parts = [b"%x;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
    body = b"".join(parts) + b"0\r\n" + b"".join(b"%b\r\n" % each for each in trailers) + b"\r\n"
    message = body + b"HTTP/1.1 200 OK\r\n"
    found, at = Chunks(), 0
    end = None
    while end is None:
        end = found.feed(message[at : at + step])
        at += step if end is None else end
    assert at == len(body)
