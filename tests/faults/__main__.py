"""Run the proxy until stdin ends; a line of JSON on stdin is a command, one on stdout its answer."""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from tests.faults.proxy import Proxy
from tests.faults.rules import Rules


async def main(host: str, port: int) -> None:
    """Listen in front of `host:port`; the first line tells where."""
    proxy = Proxy(host, port)
    async with trio.open_nursery() as nursery:
        _tell(await nursery.start(proxy.run))
        with trio.CancelScope():
            await _obey(proxy)
        nursery.cancel_scope.cancel()


async def _obey(proxy: Proxy) -> None:
    commands = trio.lowlevel.FdStream(0)
    line = b""
    async for data in commands:
        line += data
        while b"\n" in line:
            command, _, line = line.partition(b"\n")
            _tell(await _carry_out(proxy, json.loads(command)))


async def _carry_out(proxy: Proxy, command: dict[str, Any]) -> Any:
    if "rules" in command:
        await proxy.follow(Rules.from_json(command["rules"]))
        return None
    first = int(command["records"])
    return proxy.records[first:]


def _tell(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
