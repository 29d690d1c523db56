"""The parent of a mount's daemon: `python -S -m fusecache.daemon.supervisor CONFIG_FD READY_FD|- WATCHDOG_S`.

It holds what has to outlive the daemon (/dev/fuse, and what is known of the connection) and starts the next one when
that dies, or hangs. There is nothing else in it that could fail: it reads no file, knows no store, and imports the
standard library's least. What it is told, it is told in systemd's words, see `keeping`.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import sys
import time
from typing import NoReturn

from fusecache.daemon.keeping import CHANNEL, CONTROL, DIED, FUSE, HAND_OVER_STATUS

_DEATHS = 5
_WITHIN_S = 60.0
"""So many deaths in a minute by its own doing are one too many: nobody knows what the next would break."""
_UNREADY = 30
"""So many that never came to answer, whoever killed them, are too."""
_PAUSE_S = 0.1
_CLIENTS = 64
_ABOVE = 32
"""Where descriptors are kept: the lower numbers are for the child's."""
_MESSAGE_BYTES = 4096
_TICKS = 6
"""A silence is counted in so many pieces: who was stopped together with the daemon, as with a machine that is paused,
has missed one of them and not all."""


class Silence:
    """How long nothing has been heard of a daemon's loop."""

    def __init__(self, longest_s: float) -> None:
        """0: as long as it likes."""
        self.longest_s = longest_s
        self.tick_ms = longest_s * 1000 / _TICKS or None
        self._ticks = 0

    def heard(self) -> None:
        """It lives."""
        self._ticks = 0

    def is_too_long(self) -> bool:
        """Count one more tick in which nothing was heard."""
        self._ticks += 1
        return self._ticks >= _TICKS


class Supervisor:
    """Runs one daemon after the other."""

    def __init__(self, config_fd: int, ready_fd: int | None, watchdog_s: float) -> None:
        """A daemon that answers, and then shows no sign of life for `watchdog_s`, is killed; 0: none is."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._channel = ours
        self._theirs = _above(theirs.detach())
        self._config_fd = _above(config_fd)
        self._ready_fd = None if ready_fd is None else _above(ready_fd)
        self._is_background = ready_fd is not None
        self._kept: dict[str, int] = {}
        self._pidfd = -1
        self._is_ready = False
        self._was_ready = False
        self._unready = 0
        self._signal = 0
        self._deaths: list[float] = []
        self._silence = Silence(watchdog_s)
        self._hung = False

    def run(self) -> int:
        """Return the exit status of the last daemon."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        died = ""
        while True:
            status = self._child("fusecache.daemon", [], died)
            if FUSE not in self._kept or not status:
                return status if status >= 0 else 128 - status
            died = "" if status == HAND_OVER_STATUS else self._said(status)
            if died and self._is_loop(status):
                why = (
                    f"the daemon ended {len(self._deaths) or self._unready} times in short order, the last time {died}"
                )
                return self._child("fusecache.daemon.refusing", ["--why", why], died)
            if not self._is_ready:
                time.sleep(_PAUSE_S)

    def _is_loop(self, status: int) -> bool:
        """Whether it makes no sense to start another: SIGKILL is somebody else's doing, unless it was ours."""
        now = time.monotonic()
        self._unready = 0 if self._is_ready else self._unready + 1
        if status != -signal.SIGKILL or self._hung:
            self._deaths = [at for at in self._deaths if now - at < _WITHIN_S] + [now]
        return len(self._deaths) >= _DEATHS or self._unready >= _UNREADY

    def _child(self, module: str, arguments: list[str], died: str) -> int:
        """Run one until it ends; return its exit status, or the negative number of what killed it."""
        os.lseek(self._config_fd, 0, os.SEEK_SET)
        self._is_ready = self._hung = False
        self._silence.heard()
        pid = os.fork()
        if not pid:
            self._become(module, arguments, died)
        if self._ready_fd is not None:  # its end is for the first one alone: who waits there sees that die
            os.close(self._ready_fd)
            self._ready_fd = None
        self._pidfd = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while self._pidfd not in (ready := [fd for fd, _ in poll.poll(self._silence.tick_ms)]):
            self._hear()
            if not ready:
                self._look()
        self._hear()
        pidfd, self._pidfd = self._pidfd, -1
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _become(self, module: str, arguments: list[str], died: str) -> NoReturn:
        """In the child: what is kept comes first, as systemd does it."""
        try:
            os.setpgid(0, 0)  # Ctrl-C is the supervisor's to pass on
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            for target, fd in enumerate(self._kept.values(), 3):
                os.dup2(fd, target)
            passed = [self._config_fd, self._theirs, *([] if self._ready_fd is None else [self._ready_fd])]
            for fd in passed:
                os.set_inheritable(fd, True)
            environ = {**os.environ, CHANNEL: str(self._theirs)}
            if self._kept:
                environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(self._kept))}
                environ["LISTEN_FDNAMES"] = ":".join(self._kept)
            if died:
                environ[DIED] = died
            if self._silence.tick_ms:
                environ |= {"WATCHDOG_PID": str(os.getpid()), "WATCHDOG_USEC": str(int(self._silence.longest_s * 1e6))}
            ready = [] if self._ready_fd is None else ["--ready-fd", str(self._ready_fd)]
            command = [sys.executable, "-m", module, "--config-fd", str(self._config_fd), *ready, *arguments]
            os.execve(sys.executable, command, environ)  # noqa: S606  # no shell is the point
        finally:
            os._exit(127)

    def _hear(self) -> None:
        """Take in what the daemon says."""
        while True:
            try:
                message, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES, 8)
            except BlockingIOError:
                return
            said = dict(line.split("=", 1) for line in message.decode().splitlines() if "=" in line)
            name = said.get("FDNAME", "")
            if "FDSTORE" in said:
                for fd in descriptors:
                    self._keep(name, fd)
            elif "FDSTOREREMOVE" in said and name in self._kept:
                os.close(self._kept.pop(name))
            elif "READY" in said:
                self._ready()
            elif "WATCHDOG" in said:
                self._silence.heard()

    def _look(self) -> None:
        """Nothing was heard for a while. One that hangs keeps all who use the mount waiting, and another would not."""
        if self._is_ready and FUSE in self._kept and not self._hung and self._silence.is_too_long():
            self._hung = True
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _keep(self, name: str, fd: int) -> None:
        if name in self._kept:
            os.close(self._kept.pop(name))
        self._kept[name] = _above(fd)
        if name == CONTROL:  # who connects while no daemon is there sees that somebody lives (SO_PEERCRED)
            listener = socket.socket(fileno=self._kept[name])
            listener.listen(_CLIENTS)
            listener.detach()

    def _ready(self) -> None:
        self._is_ready = self._was_ready = True
        if self._is_background:  # whoever started us reads it no longer
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        if self._signal:
            self._pass_on()

    def _signalled(self, number: int, _: object) -> None:
        """Pass it on; to one that takes over only once it answers, else it would leave a mount that nobody does."""
        self._signal = number
        if self._is_ready or not self._was_ready:
            self._pass_on()

    def _said(self, status: int) -> str:
        if self._hung:
            return f"by its supervisor, as its loop gave no sign of life for {self._silence.longest_s:g} s"
        return f"by signal {-status}" if status < 0 else f"with status {status}"

    def _pass_on(self) -> None:
        if self._pidfd >= 0:
            number, self._signal = self._signal, 0
            try:
                signal.pidfd_send_signal(self._pidfd, number)
            except ProcessLookupError:
                self._signal = number  # for the next


def _above(fd: int) -> int:
    """Move a descriptor to where no child's is."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _ABOVE)
    os.close(fd)
    return moved


def main() -> int:
    """Supervise until the mount is gone."""
    config_fd, ready, watchdog_s = sys.argv[1:4]
    return Supervisor(int(config_fd), None if ready == "-" else int(ready), float(watchdog_s)).run()


if __name__ == "__main__":
    sys.exit(main())
