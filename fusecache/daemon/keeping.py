"""Who holds our descriptors while we are dead: the supervisor, or systemd's file-descriptor store.

Both are told in the same words (sd_notify(3): FDSTORE=1), and both hand them to the next process in the same way
(sd_listen_fds(3)). So a mount outlives the process that answers for it.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import MutableMapping
from contextlib import suppress

FUSE = "fuse"
CONTROL = "control"

HAND_OVER_STATUS = 77
"""How a daemon ends that another is to follow: the supervisor starts that at once, systemd as after a crash."""

CHANNEL = "FUSECACHE_SUPERVISOR"
"""The variable with the number of the socket to the supervisor."""
DIED = "FUSECACHE_DIED"
"""The variable that tells how the last one ended."""
_FIRST = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START


class Keeper:
    """Whoever keeps descriptors for us; nobody, if neither is there."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Reads the variables, and takes them away: they are not meant for our children."""
        self._channel = _channel(environ)
        self.is_supervisor = CHANNEL in environ
        self.died = environ.get(DIED)
        self.held = _received(environ)
        """What the last process has left with the keeper, by name."""
        self._kept: set[str] = set(self.held)
        self.watched_s = _watched_s(environ)
        """How long this process may show no sign of life before it is killed; None: as long as it likes."""
        for name in (CHANNEL, DIED, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "WATCHDOG_USEC"):
            environ.pop(name, None)
        if self.held and not _is_connected(self.held.get(FUSE)):
            self.release()
            while self.held:
                os.close(self.held.popitem()[1])

    def __repr__(self) -> str:
        return f"<Keeper of {', '.join(sorted(self._kept)) or 'nothing'}>"

    @property
    def is_there(self) -> bool:
        return self._channel is not None

    @property
    def keeps_mount(self) -> bool:
        """Whether the mount goes on without this process."""
        return FUSE in self._kept

    def keep(self, name: str, fd: int) -> None:
        """Have a descriptor kept from now on. Nobody there: nothing happens."""
        if self._channel is not None:
            socket.send_fds(self._channel, [f"FDSTORE=1\nFDNAME={name}".encode()], [fd])
            self._kept.add(name)

    def release(self) -> None:
        """Nothing needs to be kept any more: the mount is gone."""
        for name in sorted(self._kept):
            self._tell(f"FDSTOREREMOVE=1\nFDNAME={name}")
        self._kept.clear()

    def ready(self) -> None:
        """Requests are answered."""
        if self.is_supervisor:
            self._tell("READY=1")

    def alive(self) -> None:
        """The loop goes on."""
        if self.is_supervisor and self._channel is not None:
            with suppress(OSError):  # a supervisor that is stopped, or gone, must not stop the loop
                self._channel.send(b"WATCHDOG=1", socket.MSG_DONTWAIT)

    def _tell(self, state: str) -> None:
        if self._channel is not None:
            self._channel.send(state.encode())


def _channel(environ: MutableMapping[str, str]) -> socket.socket | None:
    if number := environ.get(CHANNEL):
        os.set_inheritable(int(number), False)
        return socket.socket(fileno=int(number))
    address = environ.get("NOTIFY_SOCKET")
    if not address or not environ.get("FDSTORE"):
        return None
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.connect("\0" + address[1:] if address.startswith("@") else address)
    return channel


def _watched_s(environ: MutableMapping[str, str]) -> float | None:
    """As sd_watchdog_enabled(3) says."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(environ.get("WATCHDOG_USEC", "0")) / 1e6 or None


def _received(environ: MutableMapping[str, str]) -> dict[str, int]:
    if environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found = dict(zip(names, range(_FIRST, _FIRST + int(environ.get("LISTEN_FDS", "0"))), strict=False))
    for fd in found.values():
        os.set_inheritable(fd, False)
    return found


def _is_connected(fuse_fd: int | None) -> bool:
    """Whether somebody may still ask there: of what was unmounted, systemd may keep the descriptor a little longer."""
    if fuse_fd is None:
        return False
    poll = select.poll()
    poll.register(fuse_fd, 0)
    return not poll.poll(0)
