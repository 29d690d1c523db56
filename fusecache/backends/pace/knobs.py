"""What the pace may be told; the names of `Aimd` are those of EMRFS's `fs.s3.aimd.*`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Aimd:
    """Additive increase, multiplicative decrease of a rate of requests.

    Source of the names: EMR's `fs.s3.aimd.{enabled,initialRate,minRate,increaseIncrement,reductionFactor,
    adjustWindow}`. Its initial rate is S3's own limit; we begin gently instead, and double.
    """

    enabled: bool = True
    initial_rate: float = 250.0
    """Writing requests a second before anything is known of the store; doubled each window until the first refusal."""
    min_rate: float = 0.1
    increase_increment: float = 0.05
    """First step beyond the rate that is known to be accepted, as a part of it; doubled each window."""
    reduction_factor: float = 2.0
    adjust_window_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a person allows, whatever the store would take. None: no limit."""

    upload_bytes_per_s: float | None = None
    requests_per_s: float | None = None
