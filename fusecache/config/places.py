"""Where a mount keeps its bytes and its state when nobody says."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path


def mount_name(mountpoint: Path, store: str) -> str:
    """Return a directory name that a person recognises and that no other mount has."""
    digest = hashlib.sha256(b"\0".join((os.fsencode(mountpoint), store.encode()))).hexdigest()[:10]
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", str(mountpoint)).strip("-.")[-40:].lstrip("-.")
    return f"{readable or 'root'}-{digest}"


def default_cache_dir(name: str, *, uid: int, environ: Mapping[str, str]) -> Path:
    """Return where the bytes of mount `name` go: the system's place for root, the XDG one for users."""
    if uid == 0:
        return Path("/var/cache/fusecache") / name
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / name


def default_state_dir(name: str, *, uid: int, environ: Mapping[str, str]) -> Path:
    """Return where the namespace of mount `name` goes."""
    if uid == 0:
        return Path("/var/lib/fusecache") / name
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / name


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """The XDG base directory specification: a relative path in the variable is to be ignored."""
    named = environ.get(variable, "")
    base = Path(named) if named.startswith("/") else Path("~").expanduser() / fallback
    return base / "fusecache"
