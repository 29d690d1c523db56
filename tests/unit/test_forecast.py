"""Rates, and how long it takes still."""

from __future__ import annotations

import pytest

from fusecache.persist.forecast import Forecast, eta_s


@pytest.mark.parametrize(
    ("files", "size_bytes", "files_per_s", "bytes_per_s", "expected"),
    [
        (0, 0, 0.0, 0.0, 0.0),
        (10, 100, 0.0, 0.0, None),
        (10, 1000, 1.0, 1000.0, 10.0),  # small files
        (1, 1000, 1.0, 10.0, 100.0),  # a large one
        (10, 0, 5.0, 0.0, 2.0),  # deletes
        (1, 1000, 0.0, 10.0, 100.0),
        (1, 1 << 40, 0.0, 0.1, None),  # ages
    ],
)
def test_what_is_left_takes_as_long_as_its_number_or_its_bytes(
    files: int, size_bytes: int, files_per_s: float, bytes_per_s: float, expected: float | None
) -> None:
    assert eta_s(files, size_bytes, files_per_s=files_per_s, bytes_per_s=bytes_per_s) == expected


def test_rates_are_of_the_last_seconds() -> None:
    forecast = Forecast()
    assert (forecast.files_per_s, forecast.eta_s()) == (0.0, None)
    forecast.saw(0.0, 1000, 10_000)
    assert forecast.eta_s() is None
    for second in range(1, 31):
        forecast.saw(float(second), 1000 - second, 10_000)
    assert forecast.files_per_s == 1.0
    for second in range(31, 61):
        forecast.saw(float(second), 970 - 10 * (second - 30), 10_000 - 100 * (second - 30))
    assert (forecast.files_per_s, forecast.bytes_per_s) == (10.0, 100.0)
    assert forecast.eta_s() == 70.0


def test_what_grows_has_no_negative_rate() -> None:
    forecast = Forecast()
    forecast.saw(0.0, 1, 1)
    forecast.saw(1.0, 5, 5)
    assert (forecast.files_per_s, forecast.bytes_per_s, forecast.eta_s()) == (0.0, 0.0, None)


def test_what_does_not_get_less_for_some_seconds_is_still() -> None:
    forecast = Forecast()
    forecast.saw(0.0, 10, 100)
    forecast.saw(4.0, 5, 50)
    assert (forecast.is_still, forecast.eta_s()) == (False, 4.0)
    forecast.saw(8.0, 5, 50)
    assert not forecast.is_still
    forecast.saw(9.5, 5, 50)
    assert (forecast.is_still, forecast.eta_s()) == (True, None)
    forecast.saw(9.6, 4, 50)
    assert not forecast.is_still
