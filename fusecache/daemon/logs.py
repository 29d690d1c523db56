"""Where the daemon's log goes, and how much of it is kept."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from pathlib import Path

LOG_BYTES = 10 << 20
OLD_LOGS = 2
"""Three files of 10 MiB: days of warnings, and no full disk."""


def start_logging(config_level: str, *, state_dir: Path, foreground: bool) -> None:
    """Log to stderr in the foreground (systemd's journal takes it), else to `state_dir`/daemon.log."""
    handler: logging.Handler
    if foreground:
        handler = logging.StreamHandler(sys.stderr)
        form = "%(levelname)s %(name)s: %(message)s"
    else:
        file = log_file(state_dir)
        handler = logging.handlers.RotatingFileHandler(file, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, delay=False)
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=config_level.upper(), format=form, handlers=[handler], force=True)
    for chatty in (
        "botocore",
        "aiobotocore",
        "httpx",
        "httpcore",
        "httpx2",
    ):  # a line a request, and credentials at debug
        logging.getLogger(chatty).setLevel(logging.WARNING)


def log_file(state_dir: Path) -> Path:
    """Return where a daemon in the background logs."""
    return state_dir / "daemon.log"


def silence_stderr() -> None:
    """Send what libraries print to nowhere: whoever started us reads it no longer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
