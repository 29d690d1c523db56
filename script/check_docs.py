"""Check that every relative link of the Markdown files leads to a file, and to a heading where it names one."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<!!)!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")


def documents() -> list[Path]:
    """Return the Markdown files that git would commit."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def dead_links(document: Path) -> Iterator[str]:
    text = INLINE_CODE.sub("", FENCE.sub("", document.read_text()))
    for target in LINK.findall(text):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue  # somebody else's page: a build must not depend on it
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        if not path.exists():
            yield f"{document.relative_to(ROOT)}: no {target}"
        elif anchor and path.suffix == ".md" and anchor not in headings(path):
            yield f"{document.relative_to(ROOT)}: no heading #{anchor} in {path.relative_to(ROOT)}"


def headings(document: Path) -> set[str]:
    """Return the anchors that a forge makes of the headings."""
    lines = re.findall(r"^#+\s+(.*?)\s*$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def main() -> int:
    found = [line for document in documents() for line in dead_links(document)]
    print("\n".join(found) or f"{len(documents())} documents, every link leads somewhere")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
