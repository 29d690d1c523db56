"""What is said on the control socket: one JSON object a line, both ways.

    client  {"command": "stat"}                     the whole mount
            {"command": "stat", "path": "a/b"}      a path below the mount's root
            {"command": "flush", "path": "", "deadline_s": 60.0}
            {"command": "umount", "flush": true, "deadline_s": null}
            {"command": "doctor", "path": "", "repair": false}
            {"command": "pause", "path": "a"}       likewise "resume" and "retry"
            {"command": "export", "path": "a", "to": "/rescue"}
            {"command": "tune", "limits": {"max_uploads": 8, "upload_limit": null}}
            {"command": "load", "path": "a", "pin": false, "include": ["*.x"], "rate": 1e8, "metadata": false}
            {"command": "free", "path": "a"}        likewise "pin" and "unpin"
            {"command": "ls", "path": "a", "after": "name"}
            {"command": "ping"}                     likewise "upgrade": both tell the process
    daemon  {"progress": {…}}                       any number of times, at least every `HEARTBEAT_S`
            {"result": {…}}                         once, or
            {"error": {"type", "message", "exit"}}

One request a connection: the daemon drops what it does for a client that hangs up, so that
Ctrl-C leaves nothing behind. Paths are text with surrogates for bytes that aren't UTF-8.
"""

from __future__ import annotations

import json
from enum import IntEnum

from fusecache.errors import FusecacheError

LINE_BYTES = 64 << 10
"""The longest request: a path of 4096 bytes, escaped six-fold, fits twice."""
REPLY_BYTES = 16 << 20
"""The longest reply a client reads: a thousand stuck files with their errors, and room."""
CONNECTIONS = 64
"""Clients served at once; more are told to come back. Each costs two tasks and a socket."""
HEARTBEAT_S = 0.5
"""How often progress is told, whether there is any or not: silence means a daemon that hangs."""
ANSWER_S = 5.0
"""How long a client waits for a first word, and a daemon for a client that doesn't read or write."""
SILENCE_S = 30.0
"""How long a client waits for the next heartbeat: a loop may be busy, but not that long."""


class ExitCode(IntEnum):
    """What every command's exit status means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DEADLINE = 3
    NOT_A_MOUNT = 4
    STUCK = 5
    NO_ANSWER = 6


class ControlError(FusecacheError):
    """A request that was refused or failed; `kind` and `exit_code` travel with it."""

    def __init__(self, message: str, *, kind: str = "failed", exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.kind = kind
        self.exit_code = exit_code


def encode(message: dict[str, object]) -> bytes:
    """Return `message` as a line; a surrogate that stands for a byte is escaped as such."""
    return json.dumps(message, separators=(",", ":")).encode("ascii") + b"\n"


def decode(line: bytes) -> dict[str, object]:
    """Return the object on `line`.

    Raises:
        ControlError: it is no JSON object.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ControlError(f"not a line of JSON: {line[:80]!r}", kind="protocol") from exc
    if not isinstance(message, dict):
        raise ControlError(f"not a JSON object: {line[:80]!r}", kind="protocol")
    return message


def path_text(path: bytes) -> str:
    """Return `path` as it is written in a message."""
    return path.decode("utf-8", "surrogateescape")


def path_bytes(value: object) -> bytes:
    """Return the path that a message names, relative to the mount's root, without empty or dotted parts.

    Raises:
        ControlError: it is no text, or climbs out of the mount.
    """
    if not isinstance(value, str):
        raise ControlError("`path` must be a string", kind="protocol", exit_code=ExitCode.USAGE)
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise ControlError("`path` is no path", kind="protocol", exit_code=ExitCode.USAGE) from exc
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in raw:
        raise ControlError("`path` must lie below the mount", kind="protocol", exit_code=ExitCode.USAGE)
    return b"/".join(parts)


def error_reply(error: ControlError) -> dict[str, object]:
    """Return the last line of a request that failed."""
    return {"error": {"type": error.kind, "message": str(error), "exit": int(error.exit_code)}}


def error_from(reply: object) -> ControlError:
    """Return the error that `error_reply` wrote, as its client raises it."""
    facts = reply if isinstance(reply, dict) else {}
    try:
        code = ExitCode(facts.get("exit", 1))
    except ValueError:
        code = ExitCode.FAILED
    return ControlError(str(facts.get("message", "failed")), kind=str(facts.get("type", "failed")), exit_code=code)
