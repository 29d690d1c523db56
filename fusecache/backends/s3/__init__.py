"""S3 and what speaks its API, by aiobotocore on trio."""

from fusecache.backends.s3.store import open_s3

__all__ = ["open_s3"]
