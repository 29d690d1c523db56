"""The stores and mounts of the mount tests."""

from __future__ import annotations

from tests.mount.conftest import any_store, mounts

__all__ = ["any_store", "mounts"]
