"""The state of a mount that is not mounted, as `doctor` and `export` are told where it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fusecache.cli.mount import table_options
from fusecache.config import Config
from fusecache.config.load import build_config, read_toml
from fusecache.config.options import OPTIONS

_NEEDED = frozenset(
    {
        *("cache_dir", "state_dir", "block_size", "endpoint_url", "region", "profile"),
        *("force_path_style", "requester_pays"),
    }
)
"""What tells where the state is, and how its store is asked."""


def state_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--config` and the options that name a state."""
    named = table_options([option for option in OPTIONS if option.name in _NEEDED])(command)
    return click.option("--config", "config_file", metavar="FILE", help="Options as TOML, as for mount.")(named)


def unmounted(store: str | None, config_file: str | None, typed: dict[str, object]) -> Config | None:
    """Return the configuration whose state is meant; None if no option names one: then a mount is meant.

    Raises:
        ConfigError: it cannot be.
    """
    settings = {name: value for name, value in typed.items() if value is not None}
    if not settings and not config_file:
        return None
    merged = (read_toml(Path(config_file)) if config_file else {}) | settings | ({"store": store} if store else {})
    if "mountpoint" not in merged and "cache_dir" in merged:
        merged["mountpoint"] = f"{merged['cache_dir']}/unmounted"  # where it is mounted does not matter here
    return build_config(merged, uid=os.geteuid(), environ=os.environ)
