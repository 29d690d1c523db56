"""Who else has a file of the cache: the kernel may read and write it by itself, long after it was closed."""

from __future__ import annotations

from fusecache.cache.content import Content


class Sharing:
    """Asks by leases, which tell of mappings, too."""

    def __init__(self) -> None:
        self.is_on = False
        """Some files are or were the kernel's; else nobody needs to be asked."""

    def is_quiet(self, content: Content) -> bool:
        """Whether nobody but this process can write to it."""
        return not self.is_on or content.file.is_quiet()

    def quiet_bytes(self, content: Content) -> bytes | None:
        """Return all of a small content, if nobody but this process can write to it."""
        return content.file.quiet_bytes(content.size) if self.is_on else content.pread(0, content.size)

    def is_unused(self, content: Content) -> bool:
        """Whether nobody but this process can read it."""
        return not self.is_on or content.file.is_quiet(for_readers=True)
