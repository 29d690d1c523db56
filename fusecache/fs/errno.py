"""The only place that knows errno numbers and the errors of the kernel's binding."""

from __future__ import annotations

import errno
import logging
from types import TracebackType

import pyfuse3

from fusecache import errors

log = logging.getLogger(__name__)

# The nearest class in an error's own order of inheritance decides.
ERRNO: dict[type[errors.FusecacheError], int] = {
    errors.NotFound: errno.ENOENT,
    errors.AlreadyExists: errno.EEXIST,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.DirectoryNotEmpty: errno.ENOTEMPTY,
    errors.InvalidArgument: errno.EINVAL,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.ReadOnly: errno.EROFS,
    errors.NotPermitted: errno.EPERM,
    errors.Unsupported: errno.EOPNOTSUPP,
    errors.NoSuchAttribute: errno.ENODATA,
    errors.OutOfRange: errno.ERANGE,
    errors.TooBig: errno.E2BIG,
    errors.Stale: errno.ESTALE,
    errors.NoSpace: errno.ENOSPC,
    errors.AccessDenied: errno.EACCES,
    errors.FusecacheError: errno.EIO,
}


def errno_of(exc: errors.FusecacheError) -> int:
    """Return the number that an application gets for `exc`."""
    return next(ERRNO[cls] for cls in type(exc).__mro__ if cls in ERRNO)


def no_data() -> pyfuse3.FUSEError:
    """There is no such attribute: an answer without a request to anybody."""
    return pyfuse3.FUSEError(errno.ENODATA)


class errno_reply:  # noqa: N801 - a class, as every request passes it: a generator costs 1.5 µs more
    """Turns what the block raises into the errno of this request; what nobody expected is EIO, and a bug."""

    __slots__ = ("_request", "_target")

    def __init__(self, request: str, target: object) -> None:
        self._request = request
        self._target = target

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(exc, errors.FusecacheError):
            log.log(exc.level, "%s(%s): %s: %s", self._request, self._target, type(exc).__name__, exc)
            raise pyfuse3.FUSEError(errno_of(exc)) from exc
        if isinstance(exc, Exception):
            log.error("%s(%s) failed in a way nobody foresaw", self._request, self._target, exc_info=exc)
            raise pyfuse3.FUSEError(errno.EIO) from exc
