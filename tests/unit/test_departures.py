"""What a name still hides when its file goes: found by one look, released by it if it was parked."""

from __future__ import annotations

from tests.unit.builders import Upper


def moved_away(upper: Upper) -> int:
    """The object of a file `a` that is `b` now is still at `a`, and read there."""
    ino = upper.persist("a")
    upper.rename("a", "b")
    assert upper.todo() == [f"copy {ino} from a", "delete a (parked)"]
    return ino


def test_a_parked_delete_falls_due_when_the_file_that_would_overwrite_its_key_goes(upper: Upper) -> None:
    ino = moved_away(upper)
    upper.write("a")
    upper.unlink("a")
    assert upper.todo() == [f"copy {ino} from a", "delete a"]
    assert upper.state("a") == "hidden"


def test_so_it_does_when_another_file_takes_that_name(upper: Upper) -> None:
    ino = moved_away(upper)
    upper.write("a")
    other = upper.write("c")
    upper.rename("c", "a")
    assert upper.todo() == [f"copy {ino} from a", "delete a", f"upload {other}"]


def test_a_delete_that_is_due_keeps_its_name_hidden_though_nothing_is_parked(upper: Upper) -> None:
    upper.persist("a")
    upper.unlink("a")
    upper.write("a")
    upper.unlink("a")
    assert upper.todo() == ["delete a"]
    assert upper.state("a") == "hidden"
