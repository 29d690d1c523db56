"""Each error of ours is some errno, on purpose; anything else is EIO and a bug that is logged."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator

import pyfuse3
import pytest

from fusecache import errors
from fusecache.fs.errno import ERRNO, errno_of
from fusecache.fs.operations import errno_reply


def _below(cls: type[errors.FusecacheError]) -> Iterator[type[errors.FusecacheError]]:
    yield cls
    for each in cls.__subclasses__():
        yield from _below(each)


ALL = sorted(set(_below(errors.FusecacheError)), key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", [cls for cls in ALL if issubclass(cls, errors.FileSystemError)])
def test_what_an_application_did_has_a_number_of_its_own(cls: type[errors.FileSystemError]) -> None:
    if cls is not errors.FileSystemError:
        assert cls in ERRNO, f"{cls.__name__} would be EIO: give it a line in fs/errno.py"
        assert ERRNO[cls] != errno.EIO


@pytest.mark.parametrize("cls", ALL)
def test_every_error_has_a_number(cls: type[errors.FusecacheError]) -> None:
    error = cls.__new__(cls)
    assert errno_of(error) in errno.errorcode


def test_no_number_is_given_twice() -> None:
    assert len(set(ERRNO.values())) == len(ERRNO)


def test_the_store_s_refusals_are_no_missing_names() -> None:
    """A key that vanished between two requests must not look like ENOENT for a file that is there."""
    assert errno_of(errors.NoSuchObject("k")) == errno.EIO
    assert errno_of(errors.Throttled("slow down")) == errno.EIO
    assert errno_of(errors.AccessDenied("no")) == errno.EACCES


def test_a_reply_carries_the_number(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), pytest.raises(pyfuse3.FUSEError) as caught, errno_reply("lookup", b"a"):
        raise errors.NotFound("a")
    assert caught.value.errno == errno.ENOENT
    assert not caplog.records, "a missing name is nobody's incident"


def test_what_nobody_foresaw_is_eio_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(pyfuse3.FUSEError) as caught, errno_reply("read", 7):
        raise ZeroDivisionError
    assert caught.value.errno == errno.EIO
    assert "ZeroDivisionError" in caplog.text
