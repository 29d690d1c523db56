"""The only place that knows which errno an error is."""

from __future__ import annotations

import errno

from fusecache import errors

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
    errors.FileTooBig: errno.EFBIG,
    errors.TooBig: errno.E2BIG,
    errors.NoSuchOffset: errno.ENXIO,
    errors.Stale: errno.ESTALE,
    errors.NoSpace: errno.ENOSPC,
    errors.AccessDenied: errno.EACCES,
    errors.FusecacheError: errno.EIO,
}


def errno_of(exc: errors.FusecacheError) -> int:
    """Return the number that an application gets for `exc`."""
    number = ERRNO.get(type(exc))
    return number if number is not None else next(ERRNO[cls] for cls in type(exc).__mro__ if cls in ERRNO)
