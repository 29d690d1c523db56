"""A mount's process: `python -m fusecache.daemon --config-fd N [--ready-fd M]`, started by `fusecache mount`."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import resource
import sys

from fusecache.config import Config
from fusecache.control import detach
from fusecache.daemon import checks
from fusecache.daemon.keeping import HAND_OVER_STATUS, Keeper
from fusecache.daemon.lock import locked
from fusecache.daemon.logs import log_file, start_logging
from fusecache.daemon.reporting import Starter, exit_code, explain
from fusecache.daemon.unmounting import own_mount
from fusecache.errors import FusecacheError, MountError

log = logging.getLogger("fusecache.daemon")

_SWITCH_S = 0.0005
"""For how long a thread may keep the interpreter from the loop, which answers the kernel: each wait for SQLite gives it
away, and with 16 uploads in flight another thread is ready to take it. Python's own 5 ms were seen by applications."""


def main() -> int:
    """Mount, serve, and return the exit status; what goes wrong before is told to the starter in one line."""
    parser = argparse.ArgumentParser(prog="fusecache.daemon")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int)
    given = parser.parse_args()
    starter, keeper = Starter(given.ready_fd), Keeper(os.environ)
    with os.fdopen(given.config_fd) as text:
        config = Config.from_json(text.read())
    sys.setswitchinterval(_SWITCH_S)
    os.chdir("/")  # a working directory on a mount, ours or another, would keep it busy
    _allow_many_files()
    try:
        return _mount(config, starter, keeper)
    except FusecacheError as exc:
        if logging.root.handlers and not config.foreground:  # there, or before there is a log, the line below is all
            log.log(exc.level, "%s", exc)
        starter.failed(explain(exc, config.store), exit_code(exc))
        return exit_code(exc)
    except Exception as exc:
        log.exception("a bug took the mount down; what is not persisted is kept for the next mount")
        where = "" if config.foreground else f"; see {log_file(config.state_dir)}"
        starter.failed(f"internal error: {type(exc).__name__}: {exc}{where}", 1)
        return 1


def _mount(config: Config, starter: Starter, keeper: Keeper) -> int:
    uid = os.geteuid()
    checks.check_machine(config, uid=uid)
    if not keeper.keeps_mount:
        checks.check_mountpoint(config.mountpoint, uid=uid)
    directories = (*config.cache_dirs, config.state_dir)
    checks.prepare_directories(directories)
    with locked(directories, f"the fusecache on {config.mountpoint}"):
        start_logging(config.log_level, state_dir=config.state_dir, foreground=config.foreground)
        faulthandler.enable()
        if keeper.died:
            log.error("the daemon of %s ended %s: this one goes on with its mount", config.mountpoint, keeper.died)
        return _run(config, starter, keeper)


def _allow_many_files() -> None:
    """Each cached file in use is a descriptor; the soft limit of 1024 is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _run(config: Config, starter: Starter, keeper: Keeper) -> int:
    """Imports what is slow only after the checks: a typo is told at once."""
    import trio

    from fusecache.daemon import runner

    was_mounted = own_mount(config.mountpoint, config.store) is not None
    try:
        trio.run(runner.run, config, starter, keeper)
        return HAND_OVER_STATUS if keeper.keeps_mount else 0
    finally:
        left = None if was_mounted or keeper.keeps_mount else own_mount(config.mountpoint, config.store)
        if left is not None and detach.probe(config.mountpoint, timeout_s=1.0) is not detach.Health.ALIVE:
            try:
                detach.detach(left)
            except MountError as exc:
                log.error("%s", exc)  # noqa: TRY400  # the error that brought us here has the traceback


if __name__ == "__main__":
    sys.exit(main())
