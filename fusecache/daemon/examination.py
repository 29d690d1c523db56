"""The examination of a state that is not mounted: `python -m fusecache.daemon.examination --config-fd N [--repair]`.

Writes to stdout what a daemon would answer on its control socket, a line a message.
"""

from __future__ import annotations

import argparse
import os
import sys

import trio

from fusecache.config import Config
from fusecache.control.protocol import ControlError, ExitCode, encode, error_reply
from fusecache.daemon.lock import locked
from fusecache.daemon.reporting import exit_code, explain
from fusecache.errors import FusecacheError
from fusecache.volume import open_doctor


def main() -> int:
    """Examine, and write the report or why there is none."""
    parser = argparse.ArgumentParser(prog="fusecache.daemon.examination")
    parser.add_argument("--config-fd", type=int, required=True)
    parser.add_argument("--repair", action="store_true")
    given = parser.parse_args()
    with os.fdopen(given.config_fd) as text:
        config = Config.from_json(text.read())
    os.chdir("/")
    try:
        _say({"result": _examined(config, repair=given.repair)})
    except ControlError as exc:
        _say(error_reply(exc))
    except FusecacheError as exc:
        _say(error_reply(ControlError(explain(exc, config.store), exit_code=ExitCode(exit_code(exc)))))
    return 0


def _examined(config: Config, *, repair: bool) -> dict[str, object]:
    """Take the locks, so that nobody mounts it meanwhile; they need the directories, which are not made here."""
    directories = (*config.cache_dirs, config.state_dir)
    if not (config.state_dir / "namespace.db").exists():
        raise ControlError(
            f"there is no state of a mount in {config.state_dir}: name the --cache-dir that it was mounted with",
            kind="usage",
            exit_code=ExitCode.USAGE,
        )
    with locked(directories, "a running `fusecache doctor`"):
        return trio.run(_run, config, repair)


async def _run(config: Config, repair: bool) -> dict[str, object]:
    async with open_doctor(config, repair=repair) as doctor:
        return await doctor.examine("", progress=lambda told: _say({"progress": told}))


def _say(message: dict[str, object]) -> None:
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
