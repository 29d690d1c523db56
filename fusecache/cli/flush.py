"""`fusecache flush`: a barrier."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from fusecache.cli.kinds import deadline_option
from fusecache.cli.progress import ProgressLine
from fusecache.cli.report import stuck_lines
from fusecache.cli.units import changes, files, size, span
from fusecache.control import client, detach
from fusecache.control.protocol import ExitCode, path_text

KEYS = (
    *("files_done", "bytes_done", "files_left", "bytes_left", "stuck", "paused", "open_files"),
    *("waiting_open", "files_waiting", "held_open", "bytes_per_s", "files_per_s", "limited_by", "elapsed_s"),
)
_SHOWN_OPEN = 20


@click.command(short_help="Wait until everything is in the store.")
@click.argument("path", required=False)
@deadline_option("How long to wait; for ever if not given.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
def flush(path: str | None, deadline_s: float | None, as_json: bool) -> None:
    """Wait until what was closed or fsynced under PATH is in the store; it goes before everything else.

    Without PATH: the mount of the working directory, else the only one. Ctrl-C ends the waiting only.

    What is stuck is tried again, once. What is open for longer than a second is not waited for, nor what waits for
    it, as a commit marker does: both are listed.

    Exit status: 0 all is in the store, but what is listed; 3 the deadline passed; 4 not a fusecache mount; 5 files are
    stuck, or paused: the rest is in the store.
    """
    target = client.find(path) if path else client.find_default()
    request: dict[str, object] = {"command": "flush", "path": path_text(target.below), "deadline_s": deadline_s}
    with ProgressLine("flush") as line:
        result = client.call(target.mount, request, progress=line.show)
    if as_json:
        click.echo(json.dumps({key: result.get(key) for key in KEYS}))
    else:
        is_open = bool(result.get("open_files") or result.get("held_open"))
        openers = detach.openers(Path(target.mountpoint)) if is_open else {}
        click.echo("\n".join(flush_lines(result, target.path, openers)))
    raise SystemExit(flush_exit(result))


def flush_exit(result: dict[str, Any]) -> ExitCode:
    """Return the exit status of a drain: what needs somebody to act, stuck or paused, beats a deadline.

    What is open, or waits for that, is listed and changes nothing: an application is at it.
    """
    if result.get("stuck") or result.get("paused"):
        return ExitCode.STUCK
    return ExitCode.DEADLINE if result.get("deadline_passed") else ExitCode.OK


def why_left(result: dict[str, Any]) -> str:
    """Return why a drain is not complete."""
    reasons = [f"{files(len(result['stuck']))} stuck"] if result.get("stuck") else []
    if count := result.get("paused"):
        reasons.append(f"{changes(count)} paused, until `fusecache resume`")
    if count := result.get("files_waiting"):
        reasons.append(f"{files(count)} waiting for one that is open")
    if result.get("deadline_passed") or not reasons:
        reasons += ["the deadline passed", *([f"it waits for {limit}"] if (limit := result.get("limited_by")) else [])]
    return ", ".join(reasons)


def flush_lines(result: dict[str, Any], path: str, openers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return what a person is told about a drain; `openers`: who has a file open, by its path below the mount."""
    took = span(result.get("elapsed_s"))
    done = result.get("files_done") or 0
    stored = f" · {files(done)}, {size(result.get('bytes_done') or 0)} stored in {took}" if done else ""
    code = flush_exit(result)
    if code == ExitCode.OK and not result.get("files_waiting"):
        lines = [f"everything under {path} is in the store{stored}"]
    else:
        left = f"{files(result.get('files_left') or 0)}, {size(result.get('bytes_left') or 0)}"
        lines = [f"{left} under {path} not in the store: {why_left(result)}{stored}"]
        lines += _indented(stuck_lines(result.get("stuck") or []))
    if open_files := list(result.get("open_files") or []):
        lines += [f"{files(len(open_files))} open for writing, not covered until closed:"]
        lines += _indented(_with_openers(open_files, openers))
    if count := result.get("waiting_open"):
        held_by = [each for each in result.get("held_open") or [] if each not in open_files]
        waits = "waits" if count == 1 else "wait"
        lines += [
            f"{_what_waits(count, result.get('files_waiting') or 0)} {waits} for what is open{':' if held_by else ''}"
        ]
        lines += _indented(_with_openers(held_by, openers))
    return lines


def _what_waits(count: int, closed: int) -> str:
    """Closed files, commit markers say, and deletes."""
    closed_files = [f"{closed:,} closed file" + ("" if closed == 1 else "s")] if closed else []
    deletes = [f"{count - closed:,} delete" + ("" if count - closed == 1 else "s")] if count > closed else []
    return " and ".join([*closed_files, *deletes])


def _with_openers(paths: list[str], openers: Mapping[str, Sequence[str]]) -> list[str]:
    lines = [f"{path}: {', '.join(openers[path])}" if path in openers else path for path in paths[:_SHOWN_OPEN]]
    return [*lines, f"… and {len(paths) - len(lines):,} more"] if len(paths) > len(lines) else lines


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]
