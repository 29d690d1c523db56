"""The only place that knows errno numbers and the errors of the kernel's binding."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def errno_reply(request: str, target: object) -> Iterator[None]:
    """Turn what the block raises into the errno of this request; what nobody expected is EIO, and a bug."""
    try:
        yield
    except errors.FusecacheError as exc:
        log.log(exc.level, "%s(%s): %s: %s", request, target, type(exc).__name__, exc)
        raise pyfuse3.FUSEError(errno_of(exc)) from exc
    except Exception as exc:
        log.exception("%s(%s) failed in a way nobody foresaw", request, target)
        raise pyfuse3.FUSEError(errno.EIO) from exc
