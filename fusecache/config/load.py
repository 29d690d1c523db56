"""From what was typed to a `Config`: TOML file, then `-o`, then the command line, the later one wins."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from fusecache.config import places, transports, values
from fusecache.config.model import MARKERS, STAGING, Config
from fusecache.config.options import OPTIONS, Option
from fusecache.config.rules import Rule
from fusecache.errors import ConfigError

_KNOWN = {option.name: option for option in OPTIONS}
_ONLY_IN_FILE = ("store", "mountpoint", "mounts", "rule")
_OF_RULES = (
    "write_mode",
    "persist_delay",
    "on_conflict",
    "dir_markers",
    "local_ttl",
    "freshness",
    "ttl",
    "staging",
    "markers",
)
"""What of the options may be said of a path alone."""
_FOR_MOUNT = frozenset({"_netdev", "auto", "noauto", "nofail", "user", "users", "nouser", "group", "owner"})
_KERNEL_DEFAULTS = frozenset({"defaults", "async", "atime", "relatime", "exec", "dev", "suid"})
_KERNEL = frozenset({"nosuid", "nodev", "noexec", "noatime"})


def read_toml(path: Path) -> dict[str, object]:
    """Return the settings of a configuration file, keys with underscores, every key known."""
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:  # TOMLDecodeError is one, and so is bad UTF-8
        raise ConfigError(f"{path}: no TOML: {exc}") from exc
    return {_known_key(key, path): value for key, value in _flat(settings)}


def _flat(settings: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield keys and values; `aimd.min-rate = 1`, which is a table to TOML, as `aimd-min-rate`."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{key}-{name}", inner) for name, inner in _flat(value))
        else:
            yield key, value


def read_mount_options(texts: Iterable[str]) -> dict[str, object]:
    """Return the settings of `-o opt[,opt]`, as in the fourth column of fstab."""
    settings: dict[str, object] = {}
    kernel: list[str] = []
    for word in (word for text in texts for word in text.split(",") if word):
        name, _, value = word.partition("=")
        if name in _KERNEL:
            kernel.append(name)
        elif name in ("ro", "rw"):
            settings["read_only"] = name == "ro"
        elif name not in _FOR_MOUNT | _KERNEL_DEFAULTS and not name.startswith(("x-", "comment")):
            settings[_option_key(name)] = value
    return settings | ({"kernel_options": tuple(kernel)} if kernel else {})


def build_config(
    settings: Mapping[str, object], *, uid: int, environ: Mapping[str, str], release: str | None = None
) -> Config:
    """Return the checked configuration of `settings`, as user `uid` would have it, on a kernel of that `release`.

    `settings` are `store`, `mountpoint`, any option by its name, `rule`: a list of tables, `kernel_options` and
    `foreground`.

    Raises:
        ConfigError: a value is wrong, or `store` or `mountpoint` is missing.
    """
    _refuse_what_is_not_here(settings)
    fields = {option.target: _read(option, settings[option.name]) for option in OPTIONS if option.name in settings}
    fields |= {name: settings[name] for name in ("kernel_options", "foreground") if name in settings}
    store, mountpoint = values.text(settings.get("store") or ""), values.path(str(settings.get("mountpoint") or ""))
    directories = _directories(fields, places.mount_name(mountpoint, store), uid=uid, environ=environ)
    defaults = {
        "allow_other": uid == 0,
        "force_path_style": "endpoint_url" in fields,
    }
    merged = (
        defaults
        | fields
        | directories
        | _patterns(fields)
        | {"transport": _transport(fields.get("transport"), uid, release or os.uname().release, environ)}
    )
    merged["rules"] = _rules(settings.get("rule", ()))
    return Config(store=store, mountpoint=mountpoint, **merged)  # type: ignore[arg-type]  # read by the table's own types


def _directories(fields: Mapping[str, object], name: str, *, uid: int, environ: Mapping[str, str]) -> dict[str, object]:
    """With a cache directory of one's own the namespace goes there too: dirty bytes without it are lost."""
    caches, state = fields.get("cache_dirs"), fields.get("state_dir")
    if state is None:
        state = caches[0] / "state" if isinstance(caches, tuple) else None
    return {
        "cache_dirs": caches or (places.default_cache_dir(name, uid=uid, environ=environ),),
        "state_dir": state or places.default_state_dir(name, uid=uid, environ=environ),
    }


def _transport(asked: object, uid: int, release: str, environ: Mapping[str, str]) -> object:
    """What `auto` means is decided once, here."""
    if asked not in (None, "auto"):
        return asked
    return _read(_KNOWN["transport"], transports.automatic(uid=uid, release=release, environ=environ))


def _patterns(fields: Mapping[str, object]) -> dict[str, object]:
    """Configured patterns come on top: nobody wants to lose `_SUCCESS` by naming his own."""
    defaults = {"staging": STAGING, "markers": MARKERS}
    return {name: (*known, *fields.get(name, ())) for name, known in defaults.items()}  # type: ignore[misc]  # texts, read by the table


def _rules(tables: object) -> tuple[Rule, ...]:
    if not isinstance(tables, list | tuple) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError("rule: write each one as a table, below [[rule]]")
    return tuple(_rule(table, number) for number, table in enumerate(tables, 1))


def _rule(table: Mapping[str, object], number: int) -> Rule:
    said = {key.replace("-", "_"): value for key, value in table.items()}
    try:
        for name in said:
            if name != "path" and name not in _OF_RULES:
                raise ConfigError(f"unknown key {name!r}{_nearest(name, ('path', *_OF_RULES))}")
        options = [_KNOWN[name] for name in said if name != "path"]
        fields = {option.target: _read(option, said[option.name]) for option in options}
        return Rule(path=values.text(said.get("path") or ""), **fields)  # type: ignore[arg-type]  # as above
    except ConfigError as exc:
        raise ConfigError(f"rule {number}: {exc}") from exc


def _read(option: Option, value: object) -> object:
    try:
        return option.read(value)
    except ConfigError as exc:
        raise ConfigError(f"{option.name}: {exc}") from exc


def _refuse_what_is_not_here(settings: Mapping[str, object]) -> None:
    if settings.get("mounts"):
        raise ConfigError("more than one store in a tree (mounts, --mount) is not in this version")
    if not settings.get("store"):
        raise ConfigError("no store: name one as s3://bucket/prefix, or in the configuration file")
    if not settings.get("mountpoint"):
        raise ConfigError("no mount point: name a directory, or `mountpoint` in the configuration file")


def _known_key(key: str, path: Path) -> str:
    name = key.replace("-", "_")
    if name in _KNOWN or name in _ONLY_IN_FILE:
        return name
    raise ConfigError(f"{path}: unknown key {key!r}{_nearest(name)}")


def _option_key(word: str) -> str:
    name = word.replace("-", "_")
    if name in _KNOWN:
        return name
    raise ConfigError(f"-o: unknown option {word!r}{_nearest(name)}")


def _nearest(name: str, known: Iterable[str] = (*_KNOWN, *_ONLY_IN_FILE)) -> str:
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else "; see `fusecache mount --help`"
