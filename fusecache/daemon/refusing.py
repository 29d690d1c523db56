"""What answers for a mount whose daemon dies again and again: `python -m fusecache.daemon.refusing … --why TEXT`.

Every request is EIO, so nobody hangs; `fusecache stat` says why, and `fusecache umount` takes the mount down. What was
acknowledged is kept for the next `fusecache mount`.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from fusecache.config import Config
from fusecache.control import client, detach
from fusecache.control.mounts import mounted_at, mounts
from fusecache.control.protocol import ANSWER_S, LINE_BYTES, ControlError, ExitCode, decode, encode, error_reply
from fusecache.daemon.keeping import CONTROL, FUSE, Keeper
from fusecache.daemon.logs import start_logging
from fusecache.errors import MountError
from fusecache.fs.transport.direct.abi import FUSE_NOTIFY_RESEND, Opcode, fuse_in_header, fuse_out_header

log = logging.getLogger("fusecache.daemon.refusing")

_REQUEST_BYTES = (1 << 20) + 4096
_UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT})
_NOTHING_LEFT = {"files_done": 0, "bytes_done": 0, "files_left": 0, "bytes_left": 0, "stuck": [], "open_files": []}


class Refusing:
    """Belongs to the main thread; one client at a time, and none can keep it for long."""

    def __init__(self, fuse_fd: int, listener: socket.socket, why: str, take_down: Callable[[], None]) -> None:
        self._fd = fuse_fd
        self._listener = listener
        self._why = f"{why}: its log says more; `fusecache umount`, then mount again: nothing acknowledged is lost"
        self._take_down = take_down

    def run(self) -> None:
        """Answer until the connection is no more."""
        os.write(self._fd, fuse_out_header.pack(fuse_out_header.size, FUSE_NOTIFY_RESEND, 0))
        poll = select.poll()
        for each in (self._fd, self._listener.fileno()):
            poll.register(each, select.POLLIN)
        is_connected = True
        while is_connected:
            ready = {fd for fd, _ in poll.poll()}
            if self._listener.fileno() in ready:
                self._answer_client()
            if self._fd in ready:
                is_connected = self._refuse()

    def _refuse(self) -> bool:
        """Refuse one request; False: there are no more."""
        try:
            message = os.read(self._fd, _REQUEST_BYTES)
        except OSError as exc:
            return exc.errno not in (errno.ENODEV, errno.ECONNABORTED)
        _, opcode, unique, *_ = fuse_in_header.unpack_from(message)
        if opcode not in _UNANSWERED:
            with suppress(OSError):  # nobody waits for it any more
                os.write(self._fd, fuse_out_header.pack(fuse_out_header.size, -errno.EIO, unique))
        return True

    def _answer_client(self) -> None:
        with suppress(OSError, ControlError), self._listener.accept()[0] as connection:
            connection.settimeout(ANSWER_S)
            with connection.makefile("rb") as lines:
                command = decode(lines.readline(LINE_BYTES)).get("command")
            is_owners = client.peer_of(connection.getsockopt)[1] in (0, os.getuid())
            if command == "umount" and is_owners:
                self._take_down()
                connection.sendall(encode({"result": _NOTHING_LEFT | {"unmounted": True}}))
                return
            connection.sendall(encode(error_reply(ControlError(self._why, kind="crashed", exit_code=ExitCode.FAILED))))


def main() -> int:
    """Refuse until the mount is gone."""
    parser = argparse.ArgumentParser(prog="fusecache.daemon.refusing")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--why", required=True)
    given = parser.parse_args()
    with os.fdopen(given.config_fd) as text:
        config = Config.from_json(text.read())
    keeper = Keeper(os.environ)
    start_logging(config.log_level, state_dir=config.state_dir, foreground=config.foreground)

    def take_down(*_: object) -> None:
        entry = mounted_at(config.mountpoint, mounts())
        if entry is not None and entry.is_fusecache:
            try:
                detach.detach(entry)
            except MountError as exc:
                log.error("%s", exc)  # noqa: TRY400  # it says it all

    signal.signal(signal.SIGTERM, take_down)
    log.critical("every request is refused (EIO): %s", given.why)
    Refusing(keeper.held[FUSE], socket.socket(fileno=keeper.held[CONTROL]), given.why, take_down).run()
    return 1


if __name__ == "__main__":
    sys.exit(main())
