"""Progress for people: bars on a terminal, a plain line now and then without one."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

BAR_CELLS = 30
REDRAW_S = 0.05
PLAIN_LINE_S = 2.0


class Console:
    """Writes steps and progress to one stream."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def line(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def step(self, text: str) -> None:
        """Begin a part of the work, with an empty line before it."""
        self.line(f"\n\x1b[1m{text}\x1b[0m" if self._is_terminal else f"\n{text}")

    def quote(self, text: str) -> None:
        """Show what a command printed, indented."""
        self.line("\n".join(f"    {line}" for line in text.rstrip().splitlines()))

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        """Give a progress of `total` steps; its end state is always shown."""
        progress = Progress(self._stream, label, total, is_terminal=self._is_terminal)
        try:
            yield progress
        finally:
            progress.close()


class Progress:
    """One line that grows, or several plain ones."""

    def __init__(self, stream: TextIO, label: str, total: int, *, is_terminal: bool) -> None:
        self._stream = stream
        self._label = label
        self._total = total
        self._is_terminal = is_terminal
        self._done = 0
        self._detail = ""
        self._shown_at = time.monotonic()
        self._shown: tuple[int, str] | None = None

    def at(self, done: int, detail: str = "") -> None:
        """Say how far it is; drawn only as often as somebody can read it."""
        self._done, self._detail = done, detail
        now = time.monotonic()
        if now - self._shown_at >= (REDRAW_S if self._is_terminal else PLAIN_LINE_S):
            self._shown_at = now
            self._show()

    def close(self) -> None:
        if self._shown != (self._done, self._detail):
            self._show()
        if self._is_terminal:
            print(file=self._stream, flush=True)

    def _show(self) -> None:
        self._shown = (self._done, self._detail)
        text = f"{self._label} {self._bar()}{self._done}/{self._total} {self._detail}".rstrip()
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K  {text[: width - 2]}", end="", file=self._stream, flush=True)
        else:
            print(f"  {text}", file=self._stream, flush=True)

    def _bar(self) -> str:
        if not self._is_terminal:
            return ""
        cells = BAR_CELLS * self._done // max(1, self._total)
        return f"{'█' * cells}{'░' * (BAR_CELLS - cells)} "


def size(count: float) -> str:
    """Return bytes as people read them: `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
