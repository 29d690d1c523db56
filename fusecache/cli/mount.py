"""`fusecache mount`: from what was typed to a mount that answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from fusecache.cli import launch
from fusecache.config.load import build_config, read_mount_options, read_toml
from fusecache.config.options import OPTIONS, Option
from fusecache.control import mounts

Command = Callable[..., Any]


def table_options(options: Sequence[Option]) -> Callable[[Command], Command]:
    """Give a command some options of the table, as text: the table's own readers check it."""

    def give(command: Command) -> Command:
        for option in reversed(options):
            flag = "--" + option.name.replace("_", "-")
            if option.is_flag:
                negated = "--" + "no-" + option.name.replace("_", "-")
                command = click.option(f"{flag}/{negated}", option.name, default=None, help=option.help)(command)
            else:
                command = click.option(
                    flag, option.name, metavar=option.metavar, multiple=option.is_list, help=option.help
                )(command)
        return command

    return give


@click.command(short_help="Mount a store on an empty directory.")
@click.argument("store", required=False)
@click.argument("mountpoint", required=False)
@click.option("--config", "config_file", metavar="FILE", help="Options as TOML; what is typed here wins over it.")
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground; SIGTERM or Ctrl-C drains and unmounts.")
@click.option("-o", "mount_words", metavar="OPT[,OPT]", multiple=True, help="Options as in fstab: ro,uid=7,nosuid …")
@table_options(OPTIONS)
def mount(
    store: str | None,
    mountpoint: str | None,
    config_file: str | None,
    foreground: bool,
    mount_words: tuple[str, ...],
    **typed: object,
) -> None:
    """Mount STORE (s3://bucket/prefix or file:///directory) on the empty directory MOUNTPOINT.

    Returns when the mount answers; on failure says why in one line, and leaves nothing behind.
    Sizes are written 64K, 100M, 1.5G; times 250ms, 60s, 5m, 2h. Credentials come from the AWS
    environment, profile or instance role.
    """
    settings = read_toml(Path(config_file)) if config_file else {}
    settings |= read_mount_options(mount_words)
    settings |= {name: value for name, value in typed.items() if value not in (None, ())}
    settings |= {name: given for name, given in (("store", store), ("mountpoint", mountpoint)) if given}
    if settings.get("mountpoint"):
        settings["mountpoint"] = _resolved(str(settings["mountpoint"]))
    config = build_config(settings | {"foreground": foreground}, uid=os.geteuid(), environ=os.environ)
    if foreground:
        launch.run_in_foreground(config)
    launch.start_in_background(config)


def _resolved(mountpoint: str) -> str:
    """As the kernel's table will show it, so that other commands find the mount again."""
    return os.fsdecode(mounts.resolve(os.fsencode(mountpoint), mounts.mounts()))
