"""How far the kernel reads ahead in a mount: 128 KiB unless somebody says more."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)

READ_AHEAD_KIB = 1024
"""A request of the largest kind. Not more: so much is read around each of the first faults of a mapping, too, wherever
they are; and who reads on is fetched ahead for here."""

_DEVICES = Path("/sys/class/bdi")


def widen(device: str, devices: Path = _DEVICES) -> bool:
    """Have the kernel read ahead further in the mount with this device number, `major:minor`; False: it may not be.

    That is root's to say, where /sys can be written; a smaller request costs more, and is no failure.
    """
    try:
        (devices / device / "read_ahead_kb").write_text(f"{READ_AHEAD_KIB}\n")
    except OSError as exc:
        log.debug("the kernel reads as far ahead as ever in %s: %s", device, exc)
        return False
    return True
