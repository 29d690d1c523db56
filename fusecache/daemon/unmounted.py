"""What is asked of a state that is not mounted: `python -m fusecache.daemon.unmounted --config-fd N examine|export …`.

Writes to stdout what a daemon would answer on its control socket, a line a message.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import trio

from fusecache.config import Config
from fusecache.control.protocol import ControlError, ExitCode, encode, error_reply
from fusecache.daemon.lock import locked
from fusecache.daemon.reporting import exit_code, explain
from fusecache.errors import FusecacheError
from fusecache.types import ROOT_INO
from fusecache.unmounted import open_doctor, open_exporter


def main() -> int:
    """Do it, and write the report or why there is none."""
    parser = argparse.ArgumentParser(prog="fusecache.daemon.unmounted")
    parser.add_argument("--config-fd", type=int, required=True)
    what = parser.add_subparsers(dest="what", required=True)
    what.add_parser("examine").add_argument("--repair", action="store_true")
    what.add_parser("export").add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    with os.fdopen(given.config_fd) as text:
        config = Config.from_json(text.read())
    os.chdir("/")
    try:
        _say({"result": _answered(config, given)})
    except ControlError as exc:
        _say(error_reply(exc))
    except FusecacheError as exc:
        _say(error_reply(ControlError(explain(exc, config.store), exit_code=ExitCode(exit_code(exc)))))
    return 0


def _answered(config: Config, given: argparse.Namespace) -> dict[str, object]:
    """Take the locks, so that nobody mounts it meanwhile; they need the directories, which are not made here."""
    directories = (*config.cache_dirs, config.state_dir)
    if not (config.state_dir / "namespace.db").exists():
        raise ControlError(
            f"there is no state of a mount in {config.state_dir}: name the --cache-dir that it was mounted with",
            kind="usage",
            exit_code=ExitCode.USAGE,
        )
    command = "export" if given.what == "export" else "doctor"
    with locked(directories, f"a running `fusecache {command}`"):
        if given.what == "export":
            return trio.run(_export, config, given.to)
        return trio.run(_examine, config, given.repair)


async def _examine(config: Config, repair: bool) -> dict[str, object]:
    async with open_doctor(config, repair=repair) as doctor:
        return await doctor.examine("", progress=_tell)


async def _export(config: Config, to: Path) -> dict[str, object]:
    with open_exporter(config) as exporter:
        try:
            return (await exporter.export(ROOT_INO, to, progress=_tell)).as_dict()
        except OSError as exc:
            raise ControlError(f"{to}: {exc.strerror}") from exc


def _tell(told: dict[str, object]) -> None:
    _say({"progress": told})


def _say(message: dict[str, object]) -> None:
    sys.stdout.buffer.write(encode(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
