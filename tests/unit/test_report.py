"""What `stat` says of a mount, beside its drain."""

from __future__ import annotations

import pytest

from fusecache.cli.report import mount_report


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"changes": 1200, "failing_s": None}, "events  1,200 changes by others were told by sqs://q"),
        (
            {"failing_s": 90.0, "error": "no answer"},
            "events  sqs://q fails for 90 s, so what others change is seen later: no answer",
        ),
    ],
)
def test_whether_the_store_tells_of_changes(told: dict[str, object], line: str) -> None:
    assert line in mount_report({"stores": ["s3://b"], "events": {"queue": "sqs://q", **told}}).splitlines()
    assert "events" not in mount_report({"stores": ["s3://b"], "events": None})
