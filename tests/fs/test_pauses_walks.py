"""Long histories with pauses and crashes: below a paused path the bucket stays as it is; in the end it is the tree."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.amounts import SEED, amount
from tests.fs.harness import MEMORY
from tests.fs.test_persister_kills import KilledRun
from tests.fs.test_persister_model import Step
from tests.fs.test_persister_walks import walk

WALKS = amount("FUSECACHE_PAUSES", usual=6, soak=500)
_PAUSES_IN_100_STEPS = 6
_PATIENCE_S = 30.0
"""A store that has fallen silent never ends a request; then the daemon is killed."""


class PausedRun(KilledRun):
    """Knows ("stop", path) and ("go",)."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._frozen: dict[str, dict[str, bytes]] = {}

    async def _do(self, world: Any, step: Step) -> None:
        match step:
            case ("stop", path):
                with trio.move_on_after(_PATIENCE_S) as patience:
                    await world.persister.pause(path)
                if not patience.cancelled_caught:
                    self._frozen.setdefault(path, self._below(path))
            case ("go",):
                self._frozen.clear()
                await world.persister.resume("")
            case _:
                await super()._do(world, step)
        for path, objects in self._frozen.items():
            assert self._below(path) == objects, f"{path} is paused"

    def _below(self, path: str) -> dict[str, bytes]:
        return {key: data for key, data in self.store.objects().items() if key == path or key.startswith(f"{path}/")}


def with_pauses(rng: random.Random, steps: Sequence[Step]) -> list[Step]:
    """Return the steps with pauses of paths that they speak of in between; the last one ends all pauses."""
    paths = [each for step in steps for each in step[1:] if isinstance(each, str)]
    found: list[Step] = []
    for step in steps:
        if rng.random() * 100 < _PAUSES_IN_100_STEPS:
            found.append(rng.choice([("stop", rng.choice(paths)), ("stop", rng.choice(paths)), ("go",)]))
        found.append(step)
    return [*found, ("go",)]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(WALKS))
def test_a_paused_path_stays_as_it_is_in_any_history(number: int) -> None:
    rng = random.Random(SEED * 1_000_003 + number)
    steps = with_pauses(rng, walk(rng))
    print(steps)
    with tempfile.TemporaryDirectory(dir=MEMORY) as root:
        trio.run(PausedRun(Path(root)).play, steps, clock=MockClock(autojump_threshold=0))
