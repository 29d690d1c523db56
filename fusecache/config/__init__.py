"""One checked configuration: what a mount is told, whoever wrote it down."""

from fusecache.config.model import BOUNDS, MARKERS, STAGING, Bound, Config

__all__ = ["BOUNDS", "MARKERS", "STAGING", "Bound", "Config"]
