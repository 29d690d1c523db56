"""What botocore and httpx raise, in the words of `fusecache.errors`: the one place that knows both.

Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#ErrorCodeList
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import botocore.exceptions as boto
import httpx2
from botocore.parsers import ResponseParserError

from fusecache.backends.s3.renewal import EXPIRED, RENEWED
from fusecache.errors import (
    AccessDenied,
    BackendError,
    BackendUnavailable,
    ConfigError,
    FusecacheError,
    NoSuchObject,
    NoSuchStore,
    PreconditionFailed,
    StoreRefused,
    Throttled,
)

_THROTTLED = {
    "SlowDown", "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException",
    "TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "EC2ThrottledException", "ProvisionedThroughputExceededException",
    "503",  # without a body, as the answer to any HEAD: what S3 says there when it throttles
}  # fmt: skip
_REDUCE = "reduce your request rate"
"""In the message of S3's ServiceUnavailable, too, when that is what it means."""
# 4xx whose cause is the moment or the wire, not the request.
_UNAVAILABLE = {
    "RequestTimeout", "RequestTimeoutException", "ConditionalRequestConflict", "OperationAborted",
    "PriorRequestNotComplete", "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch", "InternalError", "InternalFailure", "InternalException", "ServiceUnavailable",
    "DependencyTimeoutException", "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture",
}  # fmt: skip
_UNAVAILABLE_STATUS = {408, 409, 425}
_DENIED = {
    "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId",
    "SignatureDoesNotMatch", "InvalidToken", "InvalidPayer", "UnrecognizedClientException",
    "XAdminUserNotFound",  # versitygw's InvalidAccessKeyId
    *EXPIRED,
}  # fmt: skip
# Answered 403 or 5xx, and yet no matter of permission or of waiting.
_REFUSED = {"InvalidObjectState", "NotImplemented", "MethodNotAllowed", "QuotaExceeded"}
_KMS = "KMS."
"""S3 hands on what the key's service says: `KMS.DisabledException`."""

_ADVICE = {
    "RequestTimeTooSkewed": "the clock of this machine, or of the store, is wrong",
    "RequestExpired": "the clock of this machine, or of the store, is wrong",
    "ExpiredToken": "the session token has expired: log in again",
    "InvalidAccessKeyId": "the store does not know this access key",
    "XAdminUserNotFound": "the store does not know this access key",
    "SignatureDoesNotMatch": "the secret does not fit the access key",
    "AuthorizationHeaderMalformed": "probably the wrong --region",
    "PermanentRedirect": "the bucket is in another region: give --region, or another --endpoint-url",
    "InvalidObjectState": "the object is archived and must be restored first",
}
_LATEST_S = 86400.0
"""Nobody who asks for more means it, and what is no date any more could not be recorded."""
_STILL_EXPIRED = "refreshed credentials are still expired"
"""All that tells this RuntimeError of botocore's from others."""
_CHAIN = "looked for in the environment, the profile and the instance role"

_NO_CREDENTIALS = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.TokenRetrievalError, boto.NoAuthTokenError,
    boto.SSOError, boto.LoginError, boto.RefreshWithMFAUnsupportedError, boto.UnknownCredentialError,
)  # fmt: skip
"""Somebody must log in, or say how."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what a request raises into our errors; `what` names the request and begins the message."""
    handled = sys.exception()
    try:
        yield
    except boto.ClientError as exc:
        raise from_response(what, exc.response, is_head=exc.operation_name == "HeadObject") from exc
    except (boto.BotoCoreError, httpx2.HTTPError, httpx2.StreamError) as exc:
        raise _from_client(what, exc, handled) from exc
    except ResponseParserError as exc:
        raise BackendUnavailable(f"{what}: the answer ended early, or is not S3's: {exc}") from exc
    except RuntimeError as exc:
        if _STILL_EXPIRED not in str(exc):
            raise
        raise BackendUnavailable(f"{what}: {exc}") from exc


def from_response(what: str, response: Mapping[str, Any], *, is_head: bool = False) -> BackendError:
    """Classify an error answer by its code, then by its status.

    A 404 that says no more is no store's, but of something on the way to it; only the answer to a HEAD has no body.
    """
    error = response.get("Error", {})
    meta = response.get("ResponseMetadata", {})
    code, status = str(error.get("Code", "")), int(meta.get("HTTPStatusCode", 0))
    text = ": ".join(part for part in (what, code, error.get("Message") or "", _ADVICE.get(code, "")) if part)
    if error.get(RENEWED):
        return BackendUnavailable(f"{text} (tried again with other credentials)")
    if code == "404" and not is_head:
        return BackendUnavailable(f"{text}: whoever says so is not the store")
    return classified(code, status, text, retry_after_s=_retry_after_s(meta.get("HTTPHeaders", {})))


def classified(code: str, status: int, text: str, *, retry_after_s: float = 0.0) -> BackendError:
    """Return the error that a code, or where it says nothing the HTTP status, stands for."""
    if code in _THROTTLED or status == 429 or (status == 503 and _REDUCE in text.lower()):
        return Throttled(text, retry_after_s=retry_after_s)
    if code in _UNAVAILABLE:
        return BackendUnavailable(text, retry_after_s=retry_after_s)
    if code == "NoSuchBucket":
        return NoSuchStore(text)
    if code in {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}:
        return NoSuchObject(text)
    if code in {"PreconditionFailed", "412"}:
        return PreconditionFailed(text)
    if code.startswith(_KMS):
        return _of_key_service(code.removeprefix(_KMS), text, retry_after_s)
    if code in _REFUSED or status in {405, 501}:
        return StoreRefused(text)
    if code in _DENIED or status in {401, 403}:
        return AccessDenied(f"{text} (credentials: {_CHAIN})")
    return _by_status(status, text, retry_after_s)


def _of_key_service(code: str, text: str, retry_after_s: float) -> BackendError:
    if code in _THROTTLED:
        return Throttled(text, retry_after_s=retry_after_s)
    if code in _UNAVAILABLE:
        return BackendUnavailable(text, retry_after_s=retry_after_s)
    return AccessDenied(f"{text}: the key that encrypts the objects cannot be used")


def _by_status(status: int, text: str, retry_after_s: float) -> BackendError:
    if status == 412:
        return PreconditionFailed(text)
    if status == 404:
        return NoSuchObject(text)
    if status in _UNAVAILABLE_STATUS or status >= 500:
        return BackendUnavailable(text, retry_after_s=retry_after_s)
    return StoreRefused(text)


def _from_client(what: str, exc: Exception, handled: BaseException | None) -> Exception:
    """Classify what never became an answer."""
    cause = _root_cause(exc, handled)
    if isinstance(cause, FusecacheError):
        return cause  # our own source, read while the body was sent
    if isinstance(exc, _NO_CREDENTIALS):
        return AccessDenied(f"{what}: no usable AWS credentials, {_CHAIN} ({exc})")
    if isinstance(exc, boto.ProfileNotFound | boto.ConfigParseError | boto.NoRegionError | boto.InvalidConfigError):
        return ConfigError(f"{what}: {exc}")
    if isinstance(exc, boto.ParamValidationError) or isinstance(cause, httpx2.LocalProtocolError | httpx2.InvalidURL):
        return StoreRefused(f"{what}: {exc}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        return StoreRefused(f"{what}: the server's certificate is not trusted: {cause}")
    if _is_connection_trouble(exc, cause):
        return BackendUnavailable(f"{what}: {_described(exc, cause)}")
    return cause  # neither the network nor the store: a bug, and shown as what it is


def _is_connection_trouble(exc: Exception, cause: Exception) -> bool:
    troubles = (
        boto.ConnectionError,
        boto.IncompleteReadError,
        boto.ResponseStreamingError,
        boto.CredentialRetrievalError,
        boto.MetadataRetrievalError,
        boto.ChecksumError,
        boto.FlexibleChecksumError,
        boto.ReadTimeoutError,
        boto.ConnectionClosedError,
    )
    return isinstance(exc, troubles) or isinstance(cause, httpx2.HTTPError | httpx2.StreamError | OSError)


def _root_cause(exc: Exception, handled: BaseException | None) -> Exception:
    """Return what botocore's HTTPClientError and its kin were made from, or `exc` itself.

    What was being `handled` when the request was made is in the context of all that it raises, and no cause of it.
    """
    inner = getattr(exc, "kwargs", {}).get("error")
    found = inner if isinstance(inner, Exception) else exc
    seen: BaseException | None = found
    while seen is not None and seen is not handled:
        if isinstance(seen, ssl.SSLCertVerificationError | FusecacheError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return found


def _described(exc: Exception, cause: Exception) -> str:
    """Say it in one line; httpx leaves the text of many of its errors empty."""
    kind = type(cause).__name__
    url = getattr(exc, "kwargs", {}).get("endpoint_url")
    if isinstance(exc, boto.EndpointConnectionError):
        return f"cannot connect to {_host(url)}: {str(cause) or kind}"
    return str(cause) or kind


def _host(url: object) -> str:
    return "/".join(str(url).split("/", 3)[:3])


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return min(_LATEST_S, max(0.0, float(headers.get("retry-after", 0))))
    except ValueError:
        return 0.0  # the form with a date: nobody sends it, and our own backoff will do
