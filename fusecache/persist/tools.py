"""What every worker uses."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from fusecache.backends.base import Backend
from fusecache.backends.pace import Pacer
from fusecache.backends.repeat import Repeats
from fusecache.cache.contents import Contents
from fusecache.cache.fetch import Fetcher
from fusecache.namespace.durability import Durability
from fusecache.namespace.namespace import Namespace
from fusecache.persist.backoff import Backoff
from fusecache.persist.copies import Copies
from fusecache.persist.inflight import InFlight
from fusecache.persist.leftovers import Leftovers
from fusecache.persist.meter import Meter
from fusecache.persist.overwrite import Overwriter
from fusecache.persist.settings import Settings
from fusecache.persist.signature import Signer
from fusecache.persist.succession import Succession
from fusecache.persist.verify import Verifier
from fusecache.types import StoreNo


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts that workers share; each request to a store takes one of `slots`."""

    namespace: Namespace
    durability: Durability
    contents: Contents
    fetcher: Fetcher
    backends: Mapping[StoreNo, Backend]
    settings: Settings
    slots: trio.CapacityLimiter
    pacers: Mapping[StoreNo, Pacer]
    """What sets the pace of `backends`, where anything does."""
    inflight: InFlight
    sent: Meter
    """Bytes that arrived in the store."""
    finished: Meter
    """Changes that the store has."""
    refused: Meter
    """Requests that the store asked us to send later."""
    moved: Counter[int]
    """Objects that each relocation under way has copied."""
    signer: Signer
    repeats: Repeats
    """Sends again what is neither to be begun anew nor to be carried out twice without a thought."""
    overwriter: Overwriter
    copies: Copies
    leftovers: Leftovers
    succession: Succession
    verifier: Verifier
    wall_ns: Callable[[], int]
    backoff_s: Backoff

    async def recorded(self) -> None:
        """Return when no power loss can take back what the rows say now: of a request that is about to be sent,
        and that nobody reads any more what it overwrites or deletes."""
        await self.durability.reached(self.namespace.database.seq)


def equip(
    namespace: Namespace,
    durability: Durability,
    contents: Contents,
    fetcher: Fetcher,
    backends: Mapping[StoreNo, Backend],
    settings: Settings,
    *,
    pacers: Mapping[StoreNo, Pacer],
    wall_ns: Callable[[], int],
    rng: random.Random,
) -> Tools:
    """Return the tools of one persister."""
    slots, signer = trio.CapacityLimiter(settings.max_uploads), Signer(namespace.database.id)
    succession, repeats, backoff_s = Succession(namespace, backends), Repeats(rng), Backoff(settings, rng)
    leftovers = Leftovers(namespace, durability, backends, slots, succession, repeats, backoff_s)
    copies = Copies(namespace, backends, slots, leftovers, backoff_s)
    return Tools(
        namespace, durability, contents, fetcher, backends, settings, slots, pacers, InFlight(),
        sent=Meter(), finished=Meter(), refused=Meter(), moved=Counter(), signer=signer, repeats=repeats,
        overwriter=Overwriter(namespace.tables, backends, slots, signer, settings.rules, repeats, copies),
        copies=copies, leftovers=leftovers, succession=succession, verifier=Verifier(backends, settings.verify),
        wall_ns=wall_ns, backoff_s=backoff_s,
    )  # fmt: skip
