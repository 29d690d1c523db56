"""What the commands print, and with which status they end."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusecache.cli import doctor, export, main, steer, units
from fusecache.cli.flush import flush_exit, flush_lines, why_left
from fusecache.cli.load import is_complete, load_lines
from fusecache.cli.ls import entry_line
from fusecache.cli.progress import ProgressLine, progress_text
from fusecache.cli.report import headline, mount_report, path_report
from fusecache.control import detach
from fusecache.control.protocol import ExitCode

SLOW = ("trio", "aiobotocore", "botocore", "pyfuse3", "asyncio", "importlib.metadata", "sqlite3")


def test_a_command_imports_nothing_that_is_slow() -> None:
    """`fusecache stat` in a prompt or a loop: the interpreter and click, no more."""
    script = f"import sys, fusecache.cli; print([m for m in {SLOW} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["stat", "/proc"], 4, "/proc is not on a fusecache mount"),
        (["flush", "/proc"], 4, "not on a fusecache mount"),
        (["umount", "/proc"], 4, "not on a fusecache mount"),
        (["pause", "/proc"], 4, "not on a fusecache mount"),
        (["resume", "/proc"], 4, "not on a fusecache mount"),
        (["retry", "/proc"], 4, "not on a fusecache mount"),
        (["export", "/proc", "/tmp/out"], 4, "not on a fusecache mount"),
        (["export", "s3://b", "/tmp/out"], 2, "--cache-dir"),
        (["export", "/proc"], 2, "Missing argument"),
        (["tune", "/proc", "--max-uploads", "many"], 2, "no whole number"),
        (["tune", "/proc", "--max-uploads", "none"], 2, "no whole number"),
        (["tune", "/proc", "--upload-limit", "fast"], 2, "no size"),
        (["flush", "--deadline", "soon"], 2, "no duration"),
        (["mount"], 2, "no store"),
        (["mount", "s3://b"], 2, "no mount point"),
        (["mount", "s3://b", "/m", "--config", "/absent.toml"], 2, "No such file"),
        (["mount", "s3://b", "/m", "--block-size", "3M"], 2, "power of two"),
        (["mount", "s3://b", "/m", "--colour", "red"], 2, "No such option"),
        (["mount", "s3://b", "/m", "-o", "persist-dely=1s"], 2, "persist_delay"),
        (["mount", "s3://b", "/m", "--transport", "usb"], 2, "pyfuse3"),
        (["fly"], 2, "No such command"),
    ],
)
def test_bad_input_ends_with_a_line_and_a_status(arguments: list[str], status: int, words: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, words in result.output) == (status, True), result.output
    assert "Traceback" not in result.output


def test_version_and_help() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("fusecache ")
    for command in ("mount", "umount", "stat", "flush", "pause", "resume", "retry", "tune", "sync", "export", "doctor"):
        assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (12 << 20, "12.0 MiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 << 50, "5.0 PiB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (0.2, "less than 1 s"),
        (4.4, "4 s"),
        (180, "3 min"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
        (300000, "3 d"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert units.span(seconds) == text


def test_the_first_line_answers_the_question() -> None:
    assert headline({"stores": ["s3://b/p"], "files_dirty": 0, "stuck": []}) == "everything is in s3://b/p"
    left = {
        "stores": ["s3://b/p"],
        "files_dirty": 3,
        "bytes_dirty": 12 << 20,
        "oldest_dirty_s": 4.0,
        "drain_bytes_per_s": 11.2 * (1 << 20),
        "eta_s": 1.1,
    }
    assert headline(left) == "3 files, 12.0 MiB not yet in s3://b/p · oldest 4 s · 11.2 MiB/s · about 1 s left"


EVICTED = {"evictions": 70, "evicted_bytes": 5 << 30, "hit_ratio_opens": 0.6, "hit_ratio_double": 0.8}


def test_the_whole_report() -> None:
    facts = {
        "mountpoint": "/mnt/x",
        "transport": "pyfuse3",
        "pid": 7,
        "stores": ["s3://b"],
        "files_dirty": 1,
        "bytes_dirty": 10,
        "files_local": 2,
        "bytes_local": 2048,
        "oldest_dirty_s": None,
        "drain_bytes_per_s": 0,
        "eta_s": None,
        "throttled_per_s": 2.0,
        "limited_by": "a dependency: t/_SUCCESS waits for t/f",
        "waiting": ["t/_SUCCESS waits for t/f", "u/_SUCCESS waits for u/f"],
        "files_paused": 3,
        "paused": ["/a", "/b"],
        "bytes_spared": 3 << 30,
        "cache": {"bytes": 1 << 30, "limit": 2 << 30, "hit_ratio": 0.934} | EVICTED,
        "stuck": [{"path": "a/b", "error": "denied", "attempts": 4, "since_s": 180}],
    }
    assert mount_report(facts).splitlines() == [
        "1 file, 10 B not yet in s3://b",
        "stuck   a/b: denied (4 attempts, for 3 min)",
        "paused  /a, /b: 3 changes wait until `fusecache resume`",
        "local   2 files, 2.0 KiB stay here (staging)",
        "drain   limited by a dependency: t/_SUCCESS waits for t/f · 2.0 refusals a second",
        "waits   u/_SUCCESS waits for u/f",
        "cache   1.0 GiB of 2.0 GiB · 93% hits",
        "evicted 5.0 GiB given up since the mount · 60% of opens hit, with twice the room about 80% would",
        "spared  3.0 GiB never had to be sent",
        "mount   /mnt/x · pyfuse3 · pid 7",
    ]


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"paused": [], "pressure": {"state": "free", "room": 9}}, []),
        (
            {"paused": ["/t"], "files_paused": 0, "pressure": {"state": "free", "room": 5 << 30}},
            ["paused  /t, until `fusecache resume`", "        the cache fills meanwhile: 5.0 GiB left"],
        ),
        (
            {"paused": ["/"], "files_paused": 1, "pressure": {"state": "waiting", "by": "disk", "free": 9, "room": 0}},
            [
                "paused  /: 1 change waits until `fusecache resume`",
                "        the cache fills meanwhile: nothing left",
                "space   the cache disk has 9 B left: writers wait, all is paused until `fusecache resume`",
            ],
        ),
    ],
)
def test_a_pause_fills_the_cache(facts: dict[str, object], lines: list[str]) -> None:
    facts["pressure"] = {"dirty": 1, "local": 0, **facts["pressure"]}  # type: ignore[dict-item] # of unlike dicts
    assert mount_report({"stores": ["s3://b"], **facts}).splitlines()[1:-1] == lines


@pytest.mark.parametrize(
    ("pressure", "line"),
    [
        ({"state": "free", "by": None, "free": 9}, None),
        (
            {"state": "slowed", "by": "disk", "free": 1 << 30, "dirty": 1, "local": 0},
            "space   the cache disk has 1.0 GiB left: writers are slowed to what drains",
        ),
        (
            {"state": "waiting", "by": "disk", "free": 1 << 20, "dirty": 0, "local": 2 << 30},
            "space   the cache disk has 1.0 MiB left: writers wait until something has drained"
            " · nothing is left to drain: delete something, or make the disk larger"
            " · 2.0 GiB stay here (staging): no drain makes room for them",
        ),
        (
            {"state": "full", "by": "dirty_limit", "dirty": 2 << 30, "dirty_limit": 1 << 30, "local": 5},
            "space   2.0 GiB are not in the store yet, of 1.0 GiB allowed:"
            " writes are refused (ENOSPC), as nothing drains",
        ),
    ],
)
def test_the_report_says_why_writers_wait(pressure: dict[str, object], line: str | None) -> None:
    lines = mount_report({"stores": ["s3://b"], "pressure": pressure}).splitlines()
    assert [each for each in lines if each.startswith("space")] == ([line] if line else [])


def test_a_path() -> None:
    facts = {
        "path": "/mnt/x/a",
        "type": "file",
        "size": 4096,
        "state": "clean",
        "store": "s3://b/p",
        "key": "a",
        "etag": "0f",
        "cached_bytes": 4096,
        "dirty_bytes": 0,
    }
    assert path_report(facts).splitlines() == [
        "path    /mnt/x/a",
        "state   clean · in the store",
        "size    4.0 KiB file",
        "object  s3://b/p/a · etag 0f",
        "local   4.0 KiB cached · 0 B not yet stored",
    ]


def test_what_needs_somebody_beats_a_deadline() -> None:
    assert flush_exit({"paused": 2, "deadline_passed": True}) == ExitCode.STUCK
    assert flush_exit({"stuck": [{}], "deadline_passed": True}) == ExitCode.STUCK
    assert flush_exit({"stuck": [], "deadline_passed": True}) == ExitCode.DEADLINE
    assert flush_exit({"stuck": [], "open_files": ["a"], "waiting_open": 1}) == ExitCode.OK


def test_flush_says_what_it_does_not_cover() -> None:
    lines = flush_lines({"files_done": 1, "bytes_done": 10, "elapsed_s": 0.5, "open_files": ["log"]}, "/mnt/x", {})
    assert lines == [
        "everything under /mnt/x is in the store · 1 file, 10 B stored in less than 1 s",
        "1 file open for writing, not covered until closed:",
        "  log",
    ]


def test_flush_says_whose_close_is_waited_for() -> None:
    result = {"elapsed_s": 1.0, "waiting_open": 2, "files_waiting": 1, "files_left": 2, "open_files": ["t/f"]}
    assert flush_exit(result) == ExitCode.OK
    lines = flush_lines(result | {"held_open": ["old", "t/f"]}, "/m", {"t/f": ["tail (7)", "sh (8)"]})
    assert lines == [
        "2 files, 0 B under /m not in the store: 1 file waiting for one that is open",
        "1 file open for writing, not covered until closed:",
        "  t/f: tail (7), sh (8)",
        "1 closed file and 1 delete wait for what is open:",
        "  old",
    ]
    many = [f"f{n}" for n in range(30)]
    assert flush_lines({"waiting_open": 30, "held_open": many}, "/m", {})[-1] == "  … and 10 more"


def test_who_has_a_file_open(tmp_path: Path) -> None:
    kept, removed = tmp_path / "kept", tmp_path / "removed"
    with kept.open("w"), removed.open("w"):
        removed.unlink()
        found = detach.openers(tmp_path)
        me = f"({os.getpid()})"
        assert {path for path, names in found.items() if any(me in name for name in names)} == {"kept", "removed"}


def test_flush_says_why_something_is_left() -> None:
    stuck = [{"path": "a", "error": "AccessDenied: no", "attempts": 2, "since_s": 60}]
    result = {"files_left": 3, "bytes_left": 10, "stuck": stuck, "paused": 2, "elapsed_s": 1.0}
    assert flush_lines(result, "/m", {}) == [
        "3 files, 10 B under /m not in the store: 1 file stuck, 2 changes paused, until `fusecache resume`",
        "  a: AccessDenied: no (2 attempts, for 60 s)",
    ]
    assert why_left({"deadline_passed": True}) == "the deadline passed"
    assert why_left({"limited_by": "max-uploads"}) == "the deadline passed, it waits for max-uploads"


def test_limits_are_shown_as_they_are_typed() -> None:
    told = {"max_uploads": 8, "upload_limit": 100 << 20, "request_rate": None}
    assert steer.tune_lines(told) == ["max-uploads   8", "upload-limit  100.0 MiB/s", "request-rate  none"]


def test_an_export_names_what_could_not_be_had() -> None:
    failed = [{"path": "a", "error": "File exists"}]
    result = {"files": 2, "bytes": 2048, "symlinks": 1, "directories": 0, "failures": 30, "failed": failed * 30}
    lines = export.export_lines(result, "/out")
    assert lines[:3] == [
        "saved to /out: 2 files, 2.0 KiB · 1 symbolic links",
        "30 could not be had whole:",
        "  a: File exists",
    ]
    assert lines[-1] == "  … and 10 more"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_only() -> None:
    told = {"files_left": 3, "bytes_left": 3 << 20, "bytes_done": 1 << 20}
    assert progress_text("flush", told) == "flush ██████░░░░░░░░░░░░░░░░░░  25%  3 files, 3.0 MiB left"
    rate = {"bytes_per_s": 1 << 20, "eta_s": 3.0}
    assert progress_text("flush", told | rate).endswith(" 3 files, 3.0 MiB left · 1.0 MiB/s · about 3 s")
    deletes = {"files_done": 1, "files_left": 1, "bytes_left": 0, "bytes_done": 0, "files_per_s": 2.0}
    assert progress_text("flush", deletes).endswith(" 50%  1 file, 0 B left · 2.0 files/s")
    still = progress_text("flush", told | {"limited_by": "the store: no answer for 9 s"})
    assert still == "flush  25%  3 files, 3.0 MiB left · waits for the store: no answer for 9 s"
    terminal, plain = Terminal(), io.StringIO()
    for stream in (terminal, plain):
        with ProgressLine("flush", stream) as line:
            line.show({})
            line.show(told)
    assert "25%" in terminal.getvalue()
    assert terminal.getvalue().endswith("left\x1b[K\r\x1b[K")
    assert plain.getvalue() == ""


def finding(severity: str, count: int = 1, repaired: int = 0, *, repairable: bool = False) -> dict[str, object]:
    shown = [{"where": f"/{n}", "detail": "told", "repairable": repairable, "repaired": n < repaired} for n in range(2)]
    told = {"kind": "k", "severity": severity, "title": f"a {severity}", "advice": "do", "count": count}
    return told | {"repaired": repaired, "repairable": repairable, "examples": shown[:count]}


def test_a_doctor_says_first_whether_all_is_well() -> None:
    sound = {"findings": [], "looked_at": {"rows": 1200, "files": 3, "bytes": 2048}, "elapsed_s": 4.0}
    assert doctor.report_lines(sound, "/mnt/x", repair=False) == [
        "/mnt/x: all is well",
        "looked at 1,200 rows, 3 files, 2.0 KiB of cached bytes in 4 s",
    ]


def test_a_doctor_tells_the_worst_first_and_what_to_do() -> None:
    report = {"findings": [finding("note"), finding("problem", 30, repairable=True), finding("damage")]}
    lines = doctor.report_lines(report, "/mnt/x", repair=False)
    assert lines[0] == "/mnt/x: 1 × damage · 30 × problem · 1 to know"
    assert [line for line in lines if line.startswith(("damage", "problem", "note"))] == [
        "damage: a damage (1)",
        "problem: a problem (30)",
        "note: a note (1)",
    ]
    assert {"  /0: told", "  … and 28 more", "  → do"} <= set(lines)
    assert "--repair" in lines[-1]


def test_a_doctor_tells_what_was_repaired() -> None:
    report = {"findings": [finding("problem", 2, 2, repairable=True)]}
    lines = doctor.report_lines(report, "/mnt/x", repair=True)
    assert lines[0] == "/mnt/x: all is well · 2 repaired"
    assert lines[3:] == ["problem: a problem (2, 2 repaired)", "  /0: told · repaired", "  /1: told · repaired"]


@pytest.mark.slow
def test_a_mount_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    """The whole way to the mount's own process and back."""
    (tmp_path / "m").mkdir()
    (tmp_path / "m/file").touch()
    arguments = ["mount", "s3://b", str(tmp_path / "m"), "--cache-dir", str(tmp_path / "c")]
    done = subprocess.run([sys.executable, "-m", "fusecache", *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"fusecache: {tmp_path}/m is not empty: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_a_log_gets_a_line_of_progress_now_and_then() -> None:
    stream = io.StringIO()
    with ProgressLine("load", stream, plain_s=0.0) as line:
        line.show({"files_done": 1, "bytes_done": 1 << 20, "files_left": 3, "bytes_left": 3 << 20})
        line.show({})
    assert stream.getvalue() == "load ██████░░░░░░░░░░░░░░░░░░  25%  3 files, 3.0 MiB left\n"
    with ProgressLine("load", stream := io.StringIO(), plain_s=3600.0) as line:
        line.show({"files_done": 1, "files_left": 3})
    assert stream.getvalue() == ""


def test_a_name_is_listed_in_as_many_columns_as_there_are() -> None:
    entry = {"name": "a\nb\udcff", "type": "file", "size": 1000, "cached_bytes": 999, "state": "clean", "pinned": True}
    entry["mtime_ns"] = 86400 * 10**9
    line = entry_line(entry, is_long=True, width=None)
    assert line.startswith("clean       99%     1000 B  1970-01-0")
    assert line.endswith("pin  a\\nb\\xff")
    assert entry_line(entry, is_long=False, width=20) == "clean       99%  a\\…"
    empty = entry | {"type": "dir", "size": 0, "name": "d"}
    assert entry_line(empty, is_long=False, width=None) == "clean         –  d/"


def test_what_is_not_loaded_is_told() -> None:
    told = {"files_done": 2, "bytes_done": 10, "files_left": 1, "bytes_left": 5, "stopped": "no room", "failures": 1}
    told["failed"] = [{"path": "/a", "error": "gone"}]
    assert load_lines(told, "/m") == [
        "/m: 2 files, 10 B in the cache",
        "the cache is full, and 1 file, 5 B are not in it: make room with `fusecache free`, or enlarge it",
        "1 could not be loaded:",
        "  /a: gone",
    ]
    assert not is_complete(told)
    refused = {"pin": {"pinned": False, "bytes": 2048, "others_bytes": 1024, "limit": 2500}}
    why = "it has 2.0 KiB, 1.0 KiB are pinned elsewhere, and the cache holds 2.4 KiB"
    assert load_lines(refused, "/m") == [f"/m is not pinned: {why}; nothing was loaded"]
    assert not is_complete(refused)
    assert is_complete({"files_done": 1, "pin": {"pinned": True}})
