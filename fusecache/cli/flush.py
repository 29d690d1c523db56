"""`fusecache flush`: a barrier."""

from __future__ import annotations

import json
from typing import Any

import click

from fusecache.cli.kinds import deadline_option
from fusecache.cli.progress import ProgressLine
from fusecache.cli.report import stuck_lines
from fusecache.cli.units import files, size, span
from fusecache.control import client
from fusecache.control.protocol import ExitCode, path_text

KEYS = (
    *("files_done", "bytes_done", "files_left", "bytes_left", "stuck", "paused", "open_files", "waiting_open"),
    *("bytes_per_s", "files_per_s", "elapsed_s"),
)


@click.command()
@click.argument("path", required=False)
@deadline_option("How long to wait; for ever if not given.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def flush(path: str | None, deadline_s: float | None, as_json: bool) -> None:
    """Wait until what was closed or fsynced under PATH is in the store; it goes before everything else.

    Without PATH: the mount of the working directory, else the only one. Ctrl-C ends the waiting only.

    Exit status: 0 all is in the store; 3 the deadline passed; 4 not a fusecache mount; 5 files are stuck, or
    paused: the rest is in the store.
    """
    target = client.find(path) if path else client.find_default()
    request: dict[str, object] = {"command": "flush", "path": path_text(target.below), "deadline_s": deadline_s}
    with ProgressLine("flush") as line:
        result = client.call(target.mount, request, progress=line.show)
    if as_json:
        click.echo(json.dumps({key: result.get(key) for key in KEYS}))
    else:
        click.echo("\n".join(flush_lines(result, target.path)))
    raise SystemExit(flush_exit(result))


def flush_exit(result: dict[str, Any]) -> ExitCode:
    """Return the exit status of a drain: what needs somebody to act, stuck or paused, beats a deadline."""
    if result.get("stuck") or result.get("paused"):
        return ExitCode.STUCK
    return ExitCode.DEADLINE if result.get("deadline_passed") else ExitCode.OK


def why_left(result: dict[str, Any]) -> str:
    """Return why a drain is not complete."""
    count = result.get("paused") or 0
    paused = [f"{count:,} change{'' if count == 1 else 's'} paused, until `fusecache resume`"] if count else []
    stuck = [f"{files(len(result['stuck']))} stuck"] if result.get("stuck") else []
    return ", ".join([*stuck, *paused]) or "the deadline passed"


def flush_lines(result: dict[str, Any], path: str) -> list[str]:
    """Return what a person is told about a drain."""
    took = span(result.get("elapsed_s"))
    stored = f"{files(result.get('files_done') or 0)}, {size(result.get('bytes_done') or 0)} stored in {took}"
    code = flush_exit(result)
    if code == ExitCode.OK:
        lines = [f"everything under {path} is in the store · {stored}"]
    else:
        left = f"{files(result.get('files_left') or 0)}, {size(result.get('bytes_left') or 0)}"
        lines = [f"{left} under {path} not in the store: {why_left(result)} · {stored}"]
        lines += _indented(stuck_lines(result.get("stuck") or []))
    if result.get("open_files"):
        lines += [f"{files(len(result['open_files']))} open for writing, not covered until closed:"]
        lines += _indented(list(result["open_files"]))
    if result.get("waiting_open"):
        end = "what is stuck, or the last close of a file" if result.get("stuck") else "the last close of a file"
        lines += [f"{result['waiting_open']:,} changes wait for {end}"]
    return lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
