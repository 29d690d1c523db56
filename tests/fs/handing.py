"""Files that the kernel has, in a test that is the kernel."""

from __future__ import annotations

import os

from fusecache.types import HandleNo
from tests.fs.harness import World


class Handed:
    """An open file that the kernel has: it keeps what it was given, whatever becomes of the descriptor."""

    def __init__(self, world: World, number: HandleNo) -> None:
        given = world.fs.backing(number)
        assert given is not None, "the kernel does not get it"
        self.fd = os.open(f"/proc/self/fd/{given}", os.O_RDWR)
        self.number = number
        self._world = world

    async def close(self) -> None:
        """Close as the kernel does that was told not to tell of a close (FOPEN_NOFLUSH)."""
        os.close(self.fd)
        self._world.fs.release(self.number)
        del self._world.kernel[self.number]


async def handed(world: World, path: str, flags: int) -> Handed:
    return Handed(world, await world.open(path, flags))
