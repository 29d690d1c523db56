"""What the operating system says of a local store, in the words of `fusecache.errors`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from fusecache.errors import AccessDenied, BackendError, BackendUnavailable, NoSuchObject, StoreRefused

_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_REFUSED = {
    errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP, errno.EFBIG, errno.EXDEV, errno.E2BIG,
    errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EILSEQ,
}  # fmt: skip


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn an OSError into our error; what is neither refused nor denied may pass (a full disk, EIO)."""
    try:
        yield
    except OSError as exc:
        raise _classified(what, exc) from exc


def _classified(what: str, exc: OSError) -> BackendError:
    text = f"{what}: {exc.strerror or exc}"
    if exc.errno == errno.ENOENT:
        return NoSuchObject(text)
    if exc.errno in _DENIED:
        return AccessDenied(text)
    if exc.errno in _REFUSED:
        return StoreRefused(text)
    return BackendUnavailable(text)
