"""The command line's entry: errors become one line on stderr and the exit status of the contract."""

from __future__ import annotations

import os
import sys

import click

from fusecache.cli.doctor import doctor
from fusecache.cli.export import export
from fusecache.cli.flush import flush
from fusecache.cli.free import free
from fusecache.cli.load import load
from fusecache.cli.ls import ls
from fusecache.cli.mount import mount
from fusecache.cli.pin import pin, unpin
from fusecache.cli.stat import stat
from fusecache.cli.steer import pause, resume, retry, tune
from fusecache.cli.sync import sync
from fusecache.cli.umount import umount
from fusecache.cli.upgrade import upgrade
from fusecache.control.protocol import ControlError, ExitCode
from fusecache.errors import ConfigError, FusecacheError


class Commands(click.Group):
    """A group whose commands may raise our own errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which people need them."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except FusecacheError as exc:
            click.echo(f"fusecache: {exc}", err=True)
            ctx.exit(exit_code(exc))
        except BrokenPipeError:  # `fusecache stat | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(ExitCode.FAILED)


def exit_code(exc: FusecacheError) -> int:
    """Return the exit status that belongs to an error."""
    if isinstance(exc, ControlError):
        return exc.exit_code
    return ExitCode.USAGE if isinstance(exc, ConfigError) else ExitCode.FAILED


def _show_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib import metadata  # slow to import, and needed nowhere else

    try:
        version = metadata.version("fusecache")
    except metadata.PackageNotFoundError:
        version = "(not installed)"
    click.echo(f"fusecache {version}")
    ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
def main() -> None:
    """An S3 bucket as a file system that answers at the speed of the local disk.

    Exit status: 0 ok; 1 failed; 2 wrong usage; 3 deadline passed; 4 not a fusecache mount;
    5 files are stuck or paused; 6 the daemon does not answer.
    """


_CACHE = (ls, load, free, pin, unpin)
for _command in (mount, umount, stat, flush, *_CACHE, pause, resume, retry, tune, sync, export, doctor, upgrade):
    main.add_command(_command)
