"""Question: of what jobs over a data lake read, how much does a cache of a tenth of it have, by policy of eviction?

Unit: hits by reads and by bytes, in per cent, after a warm-up of a fifth; counts, no times. Baseline: LRU.
Traces are generated: a read is an open of a file, sizes are log-normal around 1 MiB (up to 64 MiB).

    python -m bench.eviction [--reads 200000]
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
from collections.abc import Callable, Iterator
from functools import partial

from bench.policies import Clock, Lru, Ours, Policy, S3Fifo, Sieve, TinyLfu

FILES = 20_000
SHARE = 0.1
WARM = 0.2

POLICIES: dict[str, Callable[[int], Policy]] = {
    "LRU": Lru,
    "clock": Clock,
    "SIEVE": Sieve,
    "S3-FIFO": S3Fifo,
    "S3-FIFO, 25 %, one use": partial(S3Fifo, small=0.25, least=1),
    "… and 3 × the ghosts": partial(S3Fifo, small=0.25, least=1, ghosts=3.0),
    "fusecache": Ours,
    "W-TinyLFU": TinyLfu,
}


def zipf(rng: random.Random, skew: float, count: int) -> Iterator[int]:
    """Ranks below `count`, endlessly."""
    weights = list(itertools.accumulate(1 / rank**skew for rank in range(1, count + 1)))
    ranks = range(count)
    while True:
        yield from rng.choices(ranks, cum_weights=weights, k=1000)


def popular(rng: random.Random) -> Iterator[int]:
    """Zipf alone."""
    names = rng.sample(range(FILES), FILES)
    yield from (names[rank] for rank in zipf(rng, 0.9, FILES))


def scanned(rng: random.Random) -> Iterator[int]:
    """Zipf, and every 20,000 reads a job that reads 10,000 files once, 1 of 2 reads being its."""
    hot, position = popular(rng), 0
    while True:
        yield from itertools.islice(hot, 20_000)
        for _ in range(10_000):
            yield next(hot)
            yield FILES + position % (4 * FILES)
            position += 1


def looping(rng: random.Random) -> Iterator[int]:
    """A table of three times the cache, read from its beginning to its end again and again."""
    while True:
        yield from range(int(FILES * SHARE * 3))


def mixed_loop(rng: random.Random) -> Iterator[int]:
    """The loop, and zipf beside it: 1 of 2 reads each."""
    for one, other in zip(looping(rng), popular(rng), strict=True):
        yield one
        yield FILES + other


def shifting(rng: random.Random) -> Iterator[int]:
    """Zipf, whose favourites are others every 40,000 reads: yesterday's partitions."""
    ranks = zipf(rng, 1.0, FILES)
    for start in itertools.count(0, FILES // 10):
        yield from ((start + rank) % (2 * FILES) for rank in itertools.islice(ranks, 40_000))


def daily(rng: random.Random) -> Iterator[int]:
    """Each day's 500 new files are read four times within the day, and then never again; and zipf, 1 of 3 reads."""
    hot = popular(rng)
    for day in itertools.count():
        new = [FILES + day * 500 + n for n in range(500)]
        for _ in range(4):
            for name in rng.sample(new, len(new)):
                yield name
                if rng.random() < 0.5:
                    yield next(hot)


TRACES = (popular, scanned, looping, mixed_loop, shifting, daily)


def size_of(key: int) -> int:
    return min(64 << 20, int(math.exp(random.Random(key).gauss(math.log(1 << 20), 1.2))) + 1)


def measured(policy: Policy, trace: Iterator[int], reads: int) -> tuple[float, float]:
    """Return the shares of reads and of bytes that were hits."""
    hits = hit_bytes = total_bytes = 0
    warm = int(reads * WARM)
    for nth, key in enumerate(itertools.islice(trace, reads)):
        size = SIZES.setdefault(key, 0) or size_of(key)
        SIZES[key] = size
        is_hit = policy.access(key, size)
        if nth >= warm:
            hits += is_hit
            hit_bytes += size * is_hit
            total_bytes += size
    return hits / (reads - warm), hit_bytes / total_bytes


SIZES: dict[int, int] = {}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=int, default=200_000)
    reads = parser.parse_args().reads
    limit = int(sum(size_of(key) for key in range(FILES)) * SHARE)
    print(f"{'% of reads / of bytes':28}" + "".join(f"{trace.__name__:>14}" for trace in TRACES))
    for name, make in POLICIES.items():
        row = [measured(make(limit), trace(random.Random(1)), reads) for trace in TRACES]
        print(f"{name:28}" + "".join(f"{100 * a:7.1f} /{100 * b:5.1f}" for a, b in row), flush=True)


if __name__ == "__main__":
    main()
