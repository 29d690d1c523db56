"""The commands. They talk to the control socket, and import nothing that is slow to import."""

from fusecache.cli.main import main

__all__ = ["main"]
