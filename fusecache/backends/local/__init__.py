"""`file://`: a local directory as a store, the simplest lower there is."""

from fusecache.backends.local.store import open_local

__all__ = ["open_local"]
