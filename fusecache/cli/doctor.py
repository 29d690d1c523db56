"""`fusecache doctor`: is what the cache directory and the bucket hold what it should be?"""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli import launch
from fusecache.cli.progress import ProgressLine
from fusecache.cli.units import size, span
from fusecache.cli.unmounted import state_options, unmounted
from fusecache.control import client
from fusecache.control.protocol import ControlError, ExitCode, path_text

_SHOWN = 20


@click.command(short_help="Compare database, cached files and bucket.")
@click.argument("target", required=False, metavar="[PATH|STORE]")
@click.option("--repair", is_flag=True, help="Put right what is safe. The only copy of anything is never touched.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
@state_options
def doctor(target: str | None, repair: bool, as_json: bool, config_file: str | None, **typed: object) -> None:
    """Check database, content files and bucket against each other.

    \b
    fusecache doctor [PATH]                    a mount, while it is used: of the bucket, what is below PATH
    fusecache doctor --cache-dir DIR STORE     the state of a mount that is not mounted
    fusecache doctor --config FILE             the same, as FILE has it

    Reads everything that is cached, and lists the bucket. Without --repair nothing is changed. With it,
    damaged cached blocks are fetched again, files that belong to nothing are moved to DIR/aside, and uploads
    of ours that nobody has continued for a day are aborted; where the database itself is damaged, nothing is.

    Exit status: 0 all is well, or is now; 1 something is not; 2 wrong usage; 4 not a fusecache mount;
    6 the daemon does not answer.
    """
    if (config := unmounted(target, config_file, typed)) is not None:
        where = str(config.state_dir)
        with ProgressLine("doctor", text=progress_text) as line:
            result = launch.examine(config, repair=repair, progress=line.show)
    else:
        if target is not None and "://" in target:
            raise ControlError(f"name the --cache-dir that {target} was mounted with", exit_code=ExitCode.USAGE)
        found = client.find(target) if target else client.find_default()
        where = found.path
        request: dict[str, object] = {"command": "doctor", "path": path_text(found.below), "repair": repair}
        with ProgressLine("doctor", text=progress_text) as line:
            result = client.call(found.mount, request, progress=line.show)
    click.echo(json.dumps(result) if as_json else "\n".join(report_lines(result, where, repair=repair)))
    raise SystemExit(ExitCode.OK if result.get("healthy") else ExitCode.FAILED)


def report_lines(report: dict[str, Any], where: str, *, repair: bool) -> list[str]:
    """Return what a person is told: the verdict, then what was found, the worst first, and what to do."""
    found: list[dict[str, Any]] = report.get("findings") or []
    lines = [_verdict(found, where), _looked_at(report)]
    for each in sorted(found, key=lambda each: _ORDER[each["severity"]]):
        repaired = f", {each['repaired']:,} repaired" if each["repaired"] else ""
        lines += ["", f"{each['severity']}: {each['title']} ({each['count']:,}{repaired})"]
        lines += [f"  {_example(example)}" for example in each["examples"][:_SHOWN]]
        if (rest := each["count"] - len(each["examples"][:_SHOWN])) > 0:
            lines.append(f"  … and {rest:,} more")
        if each["repaired"] < each["count"]:
            lines.append(f"  → {each['advice']}")
    if not repair and any(each["repairable"] for each in found):
        lines += ["", "`fusecache doctor --repair` puts right what is safe"]
    return lines


def progress_text(what: str, told: dict[str, Any]) -> str:
    """Return the line of an examination: how much was looked at."""
    return f"{what}: {_counted(told)}" if told else ""


_ORDER = {"damage": 0, "problem": 1, "note": 2}


def _verdict(found: list[dict[str, Any]], where: str) -> str:
    left = dict.fromkeys(_ORDER, 0)
    for each in found:
        left[each["severity"]] += each["count"] - each["repaired"]
    repaired = sum(each["repaired"] for each in found)
    bad = [f"{left[name]:,} × {name}" for name in ("damage", "problem") if left[name]]
    parts = [*(bad or ["all is well"]), *([f"{repaired:,} repaired"] if repaired else [])]
    notes = [f"{left['note']:,} to know"] if left["note"] else []
    return f"{where}: {' · '.join([*parts, *notes])}"


def _looked_at(report: dict[str, Any]) -> str:
    return f"looked at {_counted(report.get('looked_at') or {}) or 'nothing'} in {span(report.get('elapsed_s'))}"


def _counted(told: dict[str, Any]) -> str:
    counts = [f"{told[name]:,} {name}" for name in ("rows", "files", "objects") if told.get(name)]
    return ", ".join([*counts, *([f"{size(told['bytes'])} of cached bytes"] if told.get("bytes") else [])])


def _example(example: dict[str, Any]) -> str:
    detail = f": {example['detail']}" if example["detail"] else ""
    state = " · repaired" if example["repaired"] else f" · {example['failure']}" if example.get("failure") else ""
    return f"{example['where']}{detail}{state}"
