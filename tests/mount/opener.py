"""An application with many files open at once: `python opener.py DIRECTORY FIRST COUNT`.

It does what the lines of its input say, to every file, and answers each with a line: `open`, `read`, `write`.
"""

from __future__ import annotations

import os
import resource
import sys


def spare() -> int:
    """How many files a process may open here, beside what it needs itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 50


def main(root: str, first: int, count: int) -> None:
    spare()
    files: dict[int, int] = {}
    written: dict[int, bytes] = {}
    for line in sys.stdin:
        for number in range(first, first + count):
            match line.strip():
                case "open":
                    files[number] = os.open(f"{root}/{number}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
                    written[number] = b""
                case "write":
                    data = b"%d;" % number
                    assert os.pwrite(files[number], data, len(written[number])) == len(data)
                    written[number] += data
                case "read":
                    found = os.pread(files[number], 100, 0)
                    assert found == written[number], (number, found)
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
