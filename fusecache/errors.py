"""One error tree: types inside, errno numbers only in `fs/errno.py`.

An error carries its facts as attributes and the level at which it is worth logging.
Transient or permanent is the type, decided where the foreign exception is first seen.
"""

from __future__ import annotations

import logging


class FusecacheError(Exception):
    """Everything that fusecache raises on purpose."""

    level = logging.WARNING


# --- what an application asked for and cannot have (fs/errno.py maps each) ---


class FileSystemError(FusecacheError):
    """A POSIX call that ends in an errno: the caller's business, not an incident."""

    level = logging.DEBUG


class NotFound(FileSystemError):
    """No such name."""


class AlreadyExists(FileSystemError):
    """The name is taken."""


class NotADirectory(FileSystemError):
    """A directory was expected."""


class IsADirectory(FileSystemError):
    """A file was expected."""


class DirectoryNotEmpty(FileSystemError):
    """The directory still has entries."""


class InvalidArgument(FileSystemError):
    """The arguments contradict each other (a directory moved below itself, an odd flag)."""


class NameTooLong(FileSystemError):
    """The name has more than 255 bytes, or its key more than the store takes."""


class ReadOnly(FileSystemError):
    """The mount, or this degraded volume, takes no changes."""


class NotPermitted(FileSystemError):
    """The call is refused whoever asks (setting `user.fusecache.*`)."""


class Unsupported(FileSystemError):
    """The call is not offered here."""


class NoSuchAttribute(FileSystemError):
    """No extended attribute of that name."""


class OutOfRange(FileSystemError):
    """The caller's buffer is too small."""


class NoSuchOffset(FileSystemError):
    """No data, or no hole, from there to the end of the file."""


class FileTooBig(FileSystemError):
    """The file system of the cache disk has no files of that length."""


class TooBig(FileSystemError):
    """The value of an extended attribute has more than 64 KiB."""


class Stale(FileSystemError):
    """The inode number, or the version behind an old handle, is gone."""

    level = logging.INFO


class StoreUnreachable(FusecacheError):
    """The lower did not answer within the patience, and nothing here can answer for it: EIO."""


class NoSpace(FusecacheError):
    """The cache disk is full of bytes that may not be dropped."""


# --- stores ---


class BackendError(FusecacheError):
    """A store did not do what was asked."""


class TransientBackendError(BackendError):
    """Worth asking again after `retry_after_s`; the request may or may not have been carried out."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Throttled(TransientBackendError):
    """The store asks us to slow down (503 SlowDown, 429, RequestLimitExceeded)."""


class BackendUnavailable(TransientBackendError):
    """No connection, a timeout, a reset, a truncated body or a 5xx."""


class Miswritten(TransientBackendError):
    """The store has other bytes than were sent, or tells so: nothing local may be given up for them."""

    level = logging.ERROR


class PermanentBackendError(BackendError):
    """Asking again changes nothing until somebody acts."""


class NoSuchObject(PermanentBackendError):
    """The key is absent."""

    level = logging.DEBUG


class PreconditionFailed(PermanentBackendError):
    """The key no longer holds the version that was named."""

    level = logging.INFO


class AccessDenied(PermanentBackendError):
    """The credentials do not allow it, or there are none."""


class NoSuchStore(PermanentBackendError):
    """The bucket or directory itself does not exist."""


class StoreRefused(PermanentBackendError):
    """Any other definite refusal (bad request, key too long, entity too large)."""


# --- our own state ---


class NamespaceError(FusecacheError):
    """The namespace database is damaged, newer than this program, or in use."""

    level = logging.ERROR


class ConfigError(FusecacheError):
    """An option or a configuration file is wrong; the message says what to do."""

    level = logging.ERROR


class MountError(FusecacheError):
    """The mount cannot be made; the message says what to do."""

    level = logging.ERROR
