"""Each answer's and each exception's place in our error tree."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import botocore.exceptions as boto
import httpx2
import pytest
from botocore.parsers import ResponseParserError

from fusecache.backends.s3.errors import from_response, translated
from fusecache.backends.s3.renewal import RENEWED
from fusecache.backends.sources import SourceTruncated
from fusecache.errors import (
    AccessDenied,
    BackendUnavailable,
    ConfigError,
    NoSuchObject,
    NoSuchStore,
    PreconditionFailed,
    StoreRefused,
    Throttled,
)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("SlowDown", 503, Throttled),
        ("RequestLimitExceeded", 503, Throttled),
        ("", 429, Throttled),
        ("TooManyRequests", 429, Throttled),
        ("503", 503, Throttled),
        ("KMS.ThrottlingException", 400, Throttled),
        ("ServiceUnavailable", 503, BackendUnavailable),
        ("RequestTimeTooSkewed", 403, BackendUnavailable),
        ("RequestExpired", 400, BackendUnavailable),
        ("RequestInTheFuture", 403, BackendUnavailable),
        ("500", 500, BackendUnavailable),
        ("504", 504, BackendUnavailable),
        ("408", 408, BackendUnavailable),
        ("IncompleteBody", 400, BackendUnavailable),
        ("XAmzContentChecksumMismatch", 400, BackendUnavailable),
        ("KMS.InternalException", 500, BackendUnavailable),
        ("InternalError", 500, BackendUnavailable),
        ("InternalError", 200, BackendUnavailable),
        ("RequestTimeout", 400, BackendUnavailable),
        ("BadDigest", 400, BackendUnavailable),
        ("ConditionalRequestConflict", 409, BackendUnavailable),
        ("OperationAborted", 409, BackendUnavailable),
        ("502", 502, BackendUnavailable),
        ("NotImplemented", 501, StoreRefused),
        ("NoSuchBucket", 404, NoSuchStore),
        ("NoSuchKey", 404, NoSuchObject),
        ("NoSuchUpload", 404, NoSuchObject),
        ("404", 404, BackendUnavailable),
        ("PreconditionFailed", 412, PreconditionFailed),
        ("412", 412, PreconditionFailed),
        ("PreconditionFailed", 0, PreconditionFailed),
        ("AccessDenied", 403, AccessDenied),
        ("403", 403, AccessDenied),
        ("ExpiredToken", 400, AccessDenied),
        ("ExpiredTokenException", 400, AccessDenied),
        ("TokenRefreshRequired", 400, AccessDenied),
        ("InvalidToken", 400, AccessDenied),
        ("InvalidAccessKeyId", 403, AccessDenied),
        ("SignatureDoesNotMatch", 403, AccessDenied),
        ("401", 401, AccessDenied),
        ("KMS.DisabledException", 400, AccessDenied),
        ("KMS.NotFoundException", 400, AccessDenied),
        ("KMS.KMSInvalidStateException", 400, AccessDenied),
        ("EntityTooLarge", 400, StoreRefused),
        ("EntityTooSmall", 400, StoreRefused),
        ("MalformedXML", 400, StoreRefused),
        ("413", 413, StoreRefused),
        ("MethodNotAllowed", 405, StoreRefused),
        ("InvalidObjectState", 403, StoreRefused),
        ("KeyTooLongError", 400, StoreRefused),
        ("InvalidRange", 416, StoreRefused),
        ("PermanentRedirect", 301, StoreRefused),
    ],
)
def test_answers(code: str, status: int, error: type[Exception]) -> None:
    response = {"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    found = from_response("GET s3://b/k", response)
    assert type(found) is error
    assert str(found).startswith("GET s3://b/k: ")
    assert "why" in str(found)


def test_only_the_404_of_a_head_need_not_say_what_is_absent() -> None:
    """Any other that doesn't is of something on the way to the store: what a proxy misses is no object."""
    response = {"Error": {"Code": "404"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
    assert type(from_response("HEAD", response, is_head=True)) is NoSuchObject


def test_a_503_that_asks_for_less_is_a_throttle() -> None:
    error = {"Code": "ServiceUnavailable", "Message": "Please reduce your request rate."}
    assert type(from_response("PUT", {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 503}})) is Throttled


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId"])
def test_credentials_that_were_renewed_are_tried(code: str) -> None:
    error = {"Code": code, "Message": "why", RENEWED: True}
    assert (
        type(from_response("PUT", {"Error": error, "ResponseMetadata": {"HTTPStatusCode": 400}})) is BackendUnavailable
    )


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("3", 3.0),
        ("-1", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("inf", 86400.0),
        ("1e300", 86400.0),
        ("nan", 0.0),
    ],
)
def test_retry_after(header: str, wanted: float) -> None:
    meta = {"HTTPStatusCode": 503, "HTTPHeaders": {"retry-after": header}}
    found = from_response("GET", {"Error": {"Code": "SlowDown"}, "ResponseMetadata": meta})
    assert isinstance(found, Throttled)
    assert found.retry_after_s == wanted


def wrapped(error: Exception) -> boto.HTTPClientError:
    return boto.HTTPClientError(error=error)


def chained(cause: Exception) -> httpx2.ConnectError:
    error = httpx2.ConnectError("failed")
    error.__cause__ = cause
    return error


URL: dict[str, Any] = {"endpoint_url": "http://h:1/b"}


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (boto.EndpointConnectionError(error=httpx2.ConnectError(""), **URL), BackendUnavailable),
        (boto.ConnectTimeoutError(error=httpx2.ConnectTimeout(""), **URL), BackendUnavailable),
        (boto.ReadTimeoutError(error=httpx2.ReadTimeout(""), **URL), BackendUnavailable),
        (boto.ResponseStreamingError(error=httpx2.ReadError("")), BackendUnavailable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), BackendUnavailable),
        (boto.CredentialRetrievalError(provider="iam", error_msg="down"), BackendUnavailable),
        (wrapped(httpx2.RemoteProtocolError("disconnected")), BackendUnavailable),
        (wrapped(OSError(104, "reset")), BackendUnavailable),
        (httpx2.ReadError("reset"), BackendUnavailable),
        (ResponseParserError("unable to parse response (no element found)"), BackendUnavailable),
        (
            RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
            BackendUnavailable,
        ),
        (RuntimeError("a bug of ours"), RuntimeError),
        (wrapped(httpx2.LocalProtocolError("bad header")), StoreRefused),
        (boto.SSLError(error=chained(ssl.SSLCertVerificationError(1, "self-signed")), **URL), StoreRefused),
        (boto.ParamValidationError(report="bad"), StoreRefused),
        (boto.NoCredentialsError(), AccessDenied),
        (boto.PartialCredentialsError(provider="env", cred_var="secret"), AccessDenied),
        (boto.UnauthorizedSSOTokenError(), AccessDenied),
        (boto.ProfileNotFound(profile="p"), ConfigError),
        (wrapped(SourceTruncated("ends early")), SourceTruncated),
        (wrapped(ZeroDivisionError("a bug of ours")), ZeroDivisionError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_exceptions(raised: Exception, error: type[Exception]) -> None:
    with pytest.raises(Exception) as caught, translated("GET s3://b/k"):
        raise raised
    assert type(caught.value) is error


def test_what_was_being_handled_is_not_the_cause() -> None:
    """A request that is made because another one was refused has its own reasons to fail."""

    def lose_connection() -> None:
        with translated("HEAD a"):
            try:
                raise httpx2.ReadError("reset")
            except httpx2.ReadError as exc:
                raise boto.ConnectionClosedError(endpoint_url="http://127.0.0.1:1", error=exc) from exc

    with pytest.raises(BackendUnavailable):
        _while_handling(PreconditionFailed("a PUT"), lose_connection)


def _while_handling(refused: Exception, request: Callable[[], None]) -> None:
    try:
        raise refused
    except PreconditionFailed:
        request()
