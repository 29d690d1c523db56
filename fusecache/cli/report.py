"""What `stat` says in words: first what a person asks, then the rest, aligned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusecache.cli.units import about, attempts, changes, files, size, span

Facts = Mapping[str, Any]
_SHOWN_STUCK = 20


def mount_report(facts: Facts) -> str:
    """Return the lines for a mount, of the values of `stat --json`."""
    rows = [*_stuck_rows(facts), *_aside_rows(facts), *_paused_rows(facts), *_local_rows(facts)]
    rows += [*_pace_rows(facts), *_moving_rows(facts), *_waiting_rows(facts), *_space_rows(facts), *_cache_rows(facts)]
    rows += _events_rows(facts)
    if facts.get("bytes_spared"):
        rows.append(("spared", f"{size(facts['bytes_spared'])} never had to be sent"))
    rows.append(("mount", f"{facts.get('mountpoint')} · {facts.get('transport')} · pid {facts.get('pid')}"))
    return "\n".join([headline(facts), *_aligned(rows)])


def headline(facts: Facts) -> str:
    """Return the answer to: is everything in the store, how much is left, how long will it take."""
    store = stores(facts)
    if facts.get("read_only"):
        return f"read-only, and nothing is sent to {store}: {facts['read_only']}"
    dirty, stuck = facts.get("files_dirty") or 0, facts.get("stuck") or []
    if not dirty and not stuck:
        return f"everything is in {store}"
    parts = [f"{files(dirty)}, {size(facts.get('bytes_dirty') or 0)} not yet in {store}"]
    if facts.get("oldest_dirty_s") is not None:
        parts.append(f"oldest {span(facts['oldest_dirty_s'])}")
    if (facts.get("drain_bytes_per_s") or 0) >= 1:
        parts.append(f"{size(facts['drain_bytes_per_s'])}/s")
    if facts.get("eta_s") is not None:
        parts.append(f"{about(facts['eta_s'])} left")
    return " · ".join(parts)


def path_report(facts: Facts) -> str:
    """Return the lines for a path, of the values of `stat --json`."""
    paused = " · paused, until `fusecache resume`" if facts.get("paused") else ""
    rows = [
        ("path", str(facts.get("path"))),
        ("state", f"{facts.get('state')} · {_MEANING.get(str(facts.get('state')), '')}".rstrip(" ·") + paused),
        ("size", f"{size(facts.get('size'))} {facts.get('type')}"),
    ]
    if facts.get("key") is not None:
        etag = f" · etag {facts['etag']}" if facts.get("etag") else ""
        rows.append(("object", f"{str(facts.get('store')).rstrip('/')}/{facts['key']}{etag}"))
    pinned = " · pinned" if facts.get("pinned") else ""
    local = f"{size(facts.get('cached_bytes'))} cached · {size(facts.get('dirty_bytes'))} not yet stored"
    rows.append(("local", local + pinned))
    if facts.get("last_error"):
        rows.append(("error", f"{facts['last_error']} ({attempts(facts.get('attempts') or 0)})"))
    return "\n".join(_aligned(rows))


def stores(facts: Facts) -> str:
    """Return the stores of a mount in one phrase."""
    return " and ".join(_store_name(each) for each in facts.get("stores") or []) or "the store"


def stuck_lines(stuck: Iterable[Facts]) -> list[str]:
    """Return a line for each stuck file, the first few of many."""
    everyone = list(stuck)
    lines = [
        f"{each.get('path')}: {each.get('error')}"
        f" ({attempts(each.get('attempts') or 0)}, for {span(each.get('since_s'))})"
        for each in everyone[:_SHOWN_STUCK]
    ]
    rest = len(everyone) - len(lines)
    return [*lines, f"… and {rest} more"] if rest else lines


_MEANING = {
    "local": "stays here: staging, or no file that a store could hold",
    "clean": "in the store",
    "pending": "waits to be uploaded",
    "dirty": "open for writing, or just closed",
    "uploading": "on its way",
    "stuck": "the store refuses it; tried again for ever",
}


_WRITERS = {
    "slowed": ("writers are slowed", " to what drains"),
    "waiting": ("writers wait", " until something has drained"),
    "full": ("writes are refused (ENOSPC)", ", as nothing drains"),
}


def _store_name(store: object) -> str:
    return str(store.get("url") or store.get("store")) if isinstance(store, dict) else str(store)


def _stuck_rows(facts: Facts) -> list[tuple[str, str]]:
    return [("stuck" if not number else "", line) for number, line in enumerate(stuck_lines(facts.get("stuck") or []))]


def _aside_rows(facts: Facts) -> list[tuple[str, str]]:
    """Files that did not outlive a power loss."""
    asides = list(facts.get("set_aside") or [])
    lines = [
        f"{each.get('path')}: did not outlive a power loss, {size(each.get('size'))} of it are in {each.get('file')}"
        for each in asides[:_SHOWN_STUCK]
    ]
    if len(asides) > len(lines):
        lines.append(f"… and {len(asides) - len(lines)} more")
    return [("aside" if not number else "", line) for number, line in enumerate(lines)]


def _paused_rows(facts: Facts) -> list[tuple[str, str]]:
    """What drains nothing, and how long that goes well."""
    paths = list(facts.get("paused") or [])
    if not paths:
        return []
    count = facts.get("files_paused") or 0
    waiting = f": {changes(count)} wait{'s' if count == 1 else ''}" if count else ","
    rows = [("paused", f"{', '.join(paths[:_SHOWN_STUCK])}{waiting} until `fusecache resume`")]
    if (room := (facts.get("pressure") or {}).get("room")) is not None:
        rows.append(("", f"the cache fills meanwhile: {size(room) if room else 'nothing'} left"))
    return rows


def _waiting_rows(facts: Facts) -> list[tuple[str, str]]:
    """Dependencies, but the one that `limited_by` has told already."""
    told = str(facts.get("limited_by") or "")
    lines = [line for line in facts.get("waiting") or [] if not told.endswith(line)]
    return [("waits" if not number else "", line) for number, line in enumerate(lines)]


def _moving_rows(facts: Facts) -> list[tuple[str, str]]:
    return [
        ("moving", f"{each['path']}: {each['objects_copied']:,} objects copied so far")
        for each in facts.get("relocating") or []
    ]


def _local_rows(facts: Facts) -> list[tuple[str, str]]:
    count = facts.get("files_local") or 0
    return [("local", f"{files(count)}, {size(facts.get('bytes_local') or 0)} stay here (staging)")] if count else []


def _pace_rows(facts: Facts) -> list[tuple[str, str]]:
    throttled = facts.get("throttled_per_s")
    limited = [f"limited by {facts['limited_by']}"] if facts.get("limited_by") else []
    told = [*limited, *([f"{throttled:.1f} refusals a second"] if throttled else [])]
    return [("drain", " · ".join(told))] if told else []


def _events_rows(facts: Facts) -> list[tuple[str, str]]:
    """Whether what others change is seen at once."""
    told = facts.get("events") or {}
    if told.get("failing_s") is not None:
        why = (
            f"{told['queue']} fails for {span(told['failing_s'])}, so what others change is seen later: {told['error']}"
        )
        return [("events", why)]
    return [("events", f"{told.get('changes') or 0:,} changes by others were told by {told['queue']}")] if told else []


def _space_rows(facts: Facts) -> list[tuple[str, str]]:
    """Why writers are slowed, or refused, and what would help."""
    told = facts.get("pressure") or {}
    if told.get("state") not in _WRITERS:
        return []
    is_all_paused = "/" in (facts.get("paused") or [])
    does, why = _WRITERS[told["state"]]
    what = f"the cache disk has {size(told.get('free'))} left"
    if told.get("by") == "dirty_limit":
        what = f"{size(told.get('dirty'))} are not in the store yet, of {size(told.get('dirty_limit'))} allowed"
    elif told.get("by") == "cache_size":
        cache = facts.get("cache") or {}
        what = f"{size(cache.get('bytes'))} are in the cache, of {size(cache.get('limit'))} allowed"
    parts = [f"{what}: {does}{', all is paused until `fusecache resume`' if is_all_paused else why}"]
    if not told.get("dirty"):
        parts.append("nothing is left to drain: delete something, or make the disk larger")
    if told.get("local") and told.get("by") == "disk":
        parts.append(f"{size(told['local'])} stay here (staging): no drain makes room for them")
    return [("space", " · ".join(parts))]


def _cache_rows(facts: Facts) -> list[tuple[str, str]]:
    cache = facts.get("cache")
    if not isinstance(cache, dict):
        return []
    limit = f" of {size(cache['limit'])}" if cache.get("limit") else ""
    hits = f" · {cache['hit_ratio']:.0%} hits" if cache.get("hit_ratio") is not None else ""
    rows = [("cache", f"{size(cache.get('bytes'))}{limit}{hits}"), *_eviction_rows(cache)]
    scrub = cache.get("scrub") or {}
    told = [f"{size(scrub['checked_bytes'])} of the cache compared"] if scrub.get("checked_bytes") else []
    if bad := cache.get("bad_blocks"):
        told.append(f"{bad:,} damaged block{'' if bad == 1 else 's'} of it given up, to be fetched again")
    if told:
        rows.append(("scrub", " · ".join(told)))
    if (pinned := cache.get("pinned") or {}).get("paths"):
        paths, more = pinned["paths"][:_SHOWN_STUCK], len(pinned["paths"]) - _SHOWN_STUCK
        shown = ", ".join(paths) + (f" and {more} more" if more > 0 else "")
        rows.append(("pinned", f"{size(pinned['cached_bytes'])} of {size(pinned['bytes'])} cached · {shown}"))
    return rows


def _eviction_rows(cache: Facts) -> list[tuple[str, str]]:
    """What had to go, and whether a larger cache would help."""
    if not cache.get("evictions"):
        return []
    told = f"{size(cache['evicted_bytes'])} given up since the mount"
    if (doubled := cache.get("hit_ratio_double")) is not None:
        told += f" · {cache['hit_ratio_opens']:.0%} of opens hit, with twice the room about {doubled:.0%} would"
    return [("evicted", told)]


def _aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{label:<8}{text}" for label, text in rows]
