"""What is made of pjdfstest's report: nothing gets lost on the way, and the list is compared both ways."""

from __future__ import annotations

import pytest

from tests.conformance.pjdfstest import Outcome, deviations, expected, parse

REPORT = """\
unlink::erofs_named                                                      skipped
\tRemounts (allow_remount) are not allowed in the configuration file
rename::updates_link_parent                                               FAILED
\tassertion `left == right` failed
  left: 1
 right: 3
chmod::change_perm::fifo                                                      ok

Summary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total
"""


def test_every_case_is_found_with_what_was_said_about_it() -> None:
    assert parse(REPORT) == {
        "unlink::erofs_named": Outcome("skipped", "Remounts (allow_remount) are not allowed in the configuration file"),
        "rename::updates_link_parent": Outcome("failed", "assertion `left == right` failed left: 1 right: 3"),
        "chmod::change_perm::fifo": Outcome("ok"),
    }


@pytest.mark.parametrize(
    "report",
    [REPORT[: REPORT.index("Summary")], REPORT.replace("3 total", "4 total"), "Error: cannot get current dir"],
    ids=["cut off", "a case that was not understood", "an error"],
)
def test_a_report_that_is_not_whole_is_refused(report: str) -> None:
    with pytest.raises(ValueError, match="cases in a report that ends with"):
        parse(report)


def test_a_case_is_as_listed_or_passes() -> None:
    outcomes = parse(REPORT)
    assert list(deviations(outcomes, {"unlink::erofs_named": "skipped", "rename::updates_link_parent": "failed"})) == []


def test_the_list_and_the_cases_are_compared_both_ways() -> None:
    listed = {"unlink::erofs_named": "failed", "chmod::change_perm::fifo": "failed", "chmod::gone": "failed"}
    assert [line.split(" assertion")[0].split(" Remounts")[0] for line in deviations(parse(REPORT), listed)] == [
        "chmod::change_perm::fifo: ok instead of failed",
        "chmod::gone: listed, and there is no such case",
        "rename::updates_link_parent: failed instead of ok",
        "unlink::erofs_named: skipped instead of failed",
    ]


@pytest.mark.parametrize("case", ["chmod::change_perm::fifo", "rename::updates_link_parent"])
def test_a_race_may_end_either_way(case: str) -> None:
    report = parse(REPORT)
    assert list(deviations({case: report[case]}, {case: "either"})) == []


def test_a_skipped_race_is_not_an_end() -> None:
    case = "unlink::erofs_named"
    assert len(list(deviations({case: parse(REPORT)[case]}, {case: "either"}))) == 1


def test_the_list_names_ends_that_a_case_can_have() -> None:
    assert set(expected().values()) <= {"failed", "skipped", "either"}
