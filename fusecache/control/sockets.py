"""Where a mount's control socket is: found from the connection's device number, in its owner's folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from fusecache.control.protocol import ControlError
from fusecache.errors import MountError

ROOT_DIR = Path("/run/fusecache")


def candidates(uid: int, *, environ: Mapping[str, str], me: int) -> list[Path]:
    """Return the folders in which the sockets of user `uid` may be, the likely one first."""
    if uid == 0:
        return [ROOT_DIR]
    named = environ.get("XDG_RUNTIME_DIR", "") if uid == me else ""
    runtime = [Path(named)] if named.startswith("/") else []
    return [base / "fusecache" for base in (*runtime, Path(f"/run/user/{uid}"))] + [Path(f"/tmp/fusecache-{uid}")]


def socket_name(device: str) -> str:
    """Return the socket's file name for a device number, `major:minor`."""
    return f"{device}.sock"


def is_trusted(directory: Path, uid: int) -> bool:
    """Tell whether `directory` is one that only `uid` (or root) can put a socket into."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid in (0, uid) and not found.st_mode & 0o022


def make_directory(uid: int, *, environ: Mapping[str, str]) -> Path:
    """Return the folder for sockets of the running user `uid`, made if need be.

    Root's may be entered by all, as each request is checked; a user's only by himself.

    Raises:
        MountError: none can be made that nobody else could have prepared.
    """
    for directory in candidates(uid, environ=environ, me=uid):
        try:
            directory.mkdir(mode=0o700, parents=uid == 0)
            if uid == 0:
                directory.chmod(0o755)  # whatever the umask
        except FileExistsError:
            pass
        except OSError:
            continue  # no /run/user/UID on this machine: the next place
        if is_trusted(directory, uid):
            return directory
    places = ", ".join(str(each) for each in candidates(uid, environ=environ, me=uid))
    raise MountError(f"no folder for the control socket: {places} must belong to user {uid}, writable by nobody else")


def find_socket(device: str, uid: int, *, environ: Mapping[str, str]) -> Path | None:
    """Return the socket of the mount with that device number and owner; None if there is none.

    Raises:
        ControlError: its folder is closed to us.
    """
    for directory in candidates(uid, environ=environ, me=os.getuid()):
        path = directory / socket_name(device)
        try:
            if is_trusted(directory, uid) and path.is_socket():
                return path
        except PermissionError as exc:
            raise ControlError(
                "permission denied: only root and whoever mounted it may ask", kind="not_permitted"
            ) from exc
    return None
