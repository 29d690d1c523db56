"""What the configuration makes of the parts."""

from __future__ import annotations

import pytest

from fusecache.building import store_options
from fusecache.config.load import build_config


@pytest.mark.parametrize(
    ("settings", "connections"),
    [({}, 304), ({"max_uploads": "100"}, 304), ({"max_uploads": "100", "max_connections": "20"}, 20)],
)
def test_there_is_a_connection_for_each_upload_that_may_be_tuned_unless_that_is_said(
    settings: dict[str, str], connections: int
) -> None:
    config = build_config({"store": "s3://bucket", "mountpoint": "/mnt/x", **settings}, uid=0, environ={})
    assert store_options(config).max_connections == connections
