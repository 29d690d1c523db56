"""The commands' side of the control socket: plain blocking calls, so that a command starts fast."""

from __future__ import annotations

import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fusecache.control import mounts, sockets
from fusecache.control.mounts import MountEntry
from fusecache.control.protocol import (
    ANSWER_S,
    REPLY_BYTES,
    SILENCE_S,
    ControlError,
    ExitCode,
    decode,
    encode,
    error_from,
)

Progress = Callable[[dict[str, object]], None]
Connection = socket.socket
_UCRED = struct.Struct("3i")  # unix(7): struct ucred


@dataclass(frozen=True, slots=True)
class Target:
    """A path on a fusecache mount: `below` is what lies below the mount's root, b"" the root itself."""

    mount: MountEntry
    below: bytes

    @property
    def mountpoint(self) -> str:
        return os.fsdecode(self.mount.mountpoint)

    @property
    def path(self) -> str:
        return os.path.join(self.mountpoint, os.fsdecode(self.below)) if self.below else self.mountpoint


def find(path: str | bytes, entries: Sequence[MountEntry] | None = None) -> Target:
    """Return the mount that `path` is on, without touching it.

    Raises:
        ControlError: it is on none; exit code 4.
    """
    table = mounts.mounts() if entries is None else entries
    found = mounts.mount_of(mounts.resolve(os.fsencode(path), table), table)
    if found is None:
        raise ControlError(
            f"{os.fsdecode(path)} is not on a fusecache mount", kind="not_a_mount", exit_code=ExitCode.NOT_A_MOUNT
        )
    return Target(*found)


def find_default(entries: Sequence[MountEntry] | None = None) -> Target:
    """Return the root of the working directory's mount, else of the only mount.

    Raises:
        ControlError: there are none or several; exit code 2, with the list.
    """
    table = mounts.mounts() if entries is None else entries
    here = mounts.mount_of(mounts.working_directory(), table)
    ours = [entry for entry in table if entry.is_fusecache]
    if here is not None or len(ours) == 1:
        return Target(here[0] if here else ours[0], b"")
    listed = "".join(f"\n  {os.fsdecode(entry.mountpoint)}  ({entry.source})" for entry in ours)
    message = f"which mount? name one of{listed}" if ours else "nothing is mounted: `fusecache mount STORE MOUNTPOINT`"
    raise ControlError(message, kind="usage", exit_code=ExitCode.USAGE)


def call(mount: MountEntry, request: dict[str, object], *, progress: Progress | None = None) -> dict[str, object]:
    """Send `request` to the daemon of `mount` and return its result; `progress` is called as it comes.

    Raises:
        ControlError: what the daemon refused, with its exit code; 6 if it doesn't answer.
    """
    with connect(mount) as connection:
        return exchange(connection, request, mount, progress=progress)


def connect(mount: MountEntry) -> socket.socket:
    """Return a connection to the daemon of `mount`, which is certainly its owner's.

    If that has ended, and somebody keeps its socket (systemd), it is the next one's, and waits for it.
    """
    uid = mount.user_id or 0
    path = sockets.find_socket(mount.device, uid, environ=os.environ)
    if path is None:
        raise _no_answer(mount, "has no control socket")
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(ANSWER_S)
    try:
        connection.connect(os.fspath(path))
    except OSError as exc:
        connection.close()
        raise _no_answer(mount, f"does not answer ({exc.strerror or 'timeout'})") from exc
    pid, peer_uid, _ = peer_of(connection.getsockopt)
    if peer_uid not in (0, uid):  # somebody else's socket in the owner's folder
        connection.close()
        raise _no_answer(mount, "has a control socket of another user")
    if is_dying(pid):
        connection.close()
        raise _no_answer(mount, "has died")
    return connection


def daemon_has_died(mount: MountEntry) -> bool:
    """Whether the daemon of `mount` has certainly died, and no other is to follow. One that merely does not answer has
    not."""
    path = sockets.find_socket(mount.device, mount.user_id or 0, environ=os.environ)
    if path is None:
        return False
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(os.fspath(path))
        except ConnectionRefusedError:  # nobody has it open any more
            return True
        except OSError:
            return False
        return is_dying(peer_of(connection.getsockopt)[0])


def peer_of(getsockopt: Callable[[int, int, int], bytes]) -> tuple[int, int, int]:
    """Return pid, uid and gid of a socket's other side, as the kernel noted them at its connect or listen."""
    pid, uid, gid = _UCRED.unpack(getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid


def exchange(
    connection: socket.socket, request: dict[str, object], mount: MountEntry, *, progress: Progress | None = None
) -> dict[str, object]:
    """Carry out one request on a fresh connection."""
    try:
        connection.sendall(encode(request))

        def heard(told: dict[str, object]) -> None:
            connection.settimeout(SILENCE_S)
            if progress is not None:
                progress(told)

        with connection.makefile("rb") as lines:
            return read_reply(lines, progress=heard)
    except OSError as exc:
        raise _no_answer(mount, "does not answer") from exc
    except EOFError as exc:
        raise _no_answer(mount, "ended before it answered") from exc


def read_reply(lines: IO[bytes], *, progress: Progress) -> dict[str, object]:
    """Return the result that comes after any number of progress reports.

    Raises:
        ControlError: an error came instead. EOFError: neither did.
    """
    while line := lines.readline(REPLY_BYTES):
        reply = decode(line)
        if "error" in reply:
            raise error_from(reply["error"])
        if isinstance(result := reply.get("result"), dict):
            return result
        if isinstance(told := reply.get("progress"), dict):
            progress(told)
    raise EOFError


def wait_gone(pid: int, timeout_s: float) -> bool:
    """Wait until process `pid` has ended, whoever's it is; False if it hasn't in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poll = select.poll()  # select(2) takes no descriptor above 1023
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def has_died(pid: int) -> bool:
    """Whether process `pid` has died: also if it cannot end, see `is_dying`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return is_dying(pid)


def is_dying(pid: int) -> bool:
    """Whether process `pid` has died and cannot end, as one of its threads waits in the kernel.

    Its leader is a zombie then, which neither waitpid(2) nor a pidfd reports, with its descriptors and locks held.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return False  # it has ended, or is not ours to see
    return state in ("Z", "X")


def _no_answer(mount: MountEntry, what: str) -> ControlError:
    where = os.fsdecode(mount.mountpoint)
    return ControlError(
        f"the daemon of {where} {what}: `fusecache umount {where}` detaches it if it has died, and if it hangs "
        f"`fusermount3 -uz {where}` does; mount it again then, nothing acknowledged is lost",
        kind="no_answer",
        exit_code=ExitCode.NO_ANSWER,
    )
