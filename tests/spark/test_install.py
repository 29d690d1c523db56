"""Spark is fetched once, again for another lock, and not at all without the Java that runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.spark.install import JavaMissing, spark_directory

JAVA = "#!/bin/sh\necho 'openjdk version \"{}\" 2025-04-15' >&2\n"

# Does what `python -m pip install … --target DIRECTORY …` does, and counts; or fails after a part of it.
PYTHON = """#!/bin/sh
echo "$@" >>"$CALLS"
while [ "$1" != --target ]; do shift; done
mkdir "$2" && touch "$2/part" && [ ! -e "$CALLS-fail" ]
"""


class Place:
    """A directory that is installed into, and stand-ins for what does it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.programs = root / "bin"
        self.programs.mkdir()
        self.lock = root / "lock"
        self.lock.write_text("pyspark==1")
        self.program("python", PYTHON)
        self.program("java", JAVA.format("17.0.15"))

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def install(self) -> Path:
        return spark_directory(self.root / "tools", self.lock, str(self.programs / "python"))

    def calls(self) -> int:
        return len((self.root / "calls").read_text().splitlines())


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.setenv("PATH", f"{made.programs}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return made


def test_it_is_installed_once(place: Place) -> None:
    assert place.install() == place.install() == place.root / "tools" / "spark"
    assert place.calls() == 1


def test_another_lock_replaces_it(place: Place) -> None:
    (place.install() / "of the old one").touch()
    place.lock.write_text("pyspark==2")
    assert not (place.install() / "of the old one").exists()
    assert place.calls() == 2


def test_what_was_interrupted_is_done_again(place: Place) -> None:
    failing = place.root / "calls-fail"
    failing.touch()
    with pytest.raises(Exception, match="returned non-zero exit status"):
        place.install()
    failing.unlink()
    place.install()
    assert place.calls() == 2


def test_without_java_it_is_missing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place.root))
    with pytest.raises(JavaMissing, match="no java on PATH; it takes Java 17"):
        place.install()


def test_another_java_does_not_run_it(place: Place) -> None:
    place.program("java", JAVA.format("21.0.1"))
    with pytest.raises(JavaMissing, match='is not Java 17: openjdk version "21'):
        place.install()
