"""Kinds of options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from fusecache.config import values
from fusecache.errors import ConfigError

Command = TypeVar("Command", bound=Callable[..., object])


def deadline_option(help_text: str) -> Callable[[Command], Command]:
    """Give a command `--deadline`: `250ms`, `60s`, `5m`, `2h` or bare seconds; None waits for ever."""
    return click.option("--deadline", "deadline_s", metavar="TIME", callback=_seconds, help=help_text)


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else values.duration(value)
    except ConfigError as exc:
        raise click.BadParameter(str(exc), ctx, param) from exc
