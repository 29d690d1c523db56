"""A line that is rewritten while somebody waits at a terminal; elsewhere silence, or a line now and then."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from fusecache.cli.units import about, files, size

_BAR = 24


class ProgressLine:
    """Shows how far something is, on stderr: stdout is for results."""

    def __init__(
        self,
        what: str,
        stream: TextIO | None = None,
        *,
        text: Callable[[str, dict[str, Any]], str] | None = None,
        plain_s: float | None = None,
    ) -> None:
        """`text` makes the line of `what` and what was told; '' if there is nothing to show yet. `plain_s`: how often
        a line is written that no terminal shows; None: never."""
        self._what = what
        self._text = text or progress_text
        self._stream = sys.stderr if stream is None else stream
        self._is_shown = self._stream.isatty()
        self._has_text = False
        self._plain_s = plain_s
        self._told_at = time.monotonic()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        if self._has_text:
            self._write("")

    def show(self, told: dict[str, Any]) -> None:
        """Draw `told`: of a drain, the fields of `flush --json` so far."""
        if not self._is_due() or not (text := self._text(self._what, told)):
            return
        self._told_at = time.monotonic()
        if self._is_shown:
            self._write(text[: shutil.get_terminal_size().columns - 1])
            self._has_text = True
        else:
            print(text, file=self._stream, flush=True)

    def _is_due(self) -> bool:
        if self._is_shown or self._plain_s is None:
            return self._is_shown
        return time.monotonic() - self._told_at >= self._plain_s

    def _write(self, text: str) -> None:
        self._stream.write(f"\r{text}\x1b[K")  # over the old one, then erase its rest: erased first, it would flicker
        self._stream.flush()


def progress_text(what: str, told: dict[str, Any]) -> str:
    """Return the line of a drain: a bar over the bytes (over the files, if there are none), rate, and what is left.

    While nothing gets less: why.
    """
    if "files_left" not in told:
        return ""
    in_files, in_bytes = ((told.get(f"{unit}_done") or 0, told.get(f"{unit}_left") or 0) for unit in ("files", "bytes"))
    done, left = in_bytes if sum(in_bytes) else in_files
    share = done / (done + left) if done + left else 1.0
    if told.get("limited_by"):
        return f"{what} {share:4.0%}  {files(in_files[1])}, {size(in_bytes[1])} left · waits for {told['limited_by']}"
    bar = ("█" * int(share * _BAR)).ljust(_BAR, "░")
    parts = [f"{what} {bar} {share:4.0%}  {files(in_files[1])}, {size(in_bytes[1])} left"]
    if told.get("bytes_per_s"):
        parts.append(f"{size(told['bytes_per_s'])}/s")
    elif told.get("files_per_s"):
        parts.append(f"{told['files_per_s']:.1f} files/s")
    if told.get("eta_s"):
        parts.append(about(told["eta_s"]))
    return " · ".join(parts)
