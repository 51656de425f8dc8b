"""Calls one RPC as fast as it is answered, or at a rate: python flood.py TARGET.

Runs in a process of its own, so that it does not slow the tests' event loop, nor they it. The
orders come on stdin, one JSON object a line: `{"metadata": [[NAME, VALUE]…], "method", "request":
HEX, "seconds"}`, and either `"callers": N`, who call one after the other, or `"rate"`: so many
calls a second, whatever becomes of them. Each is answered by a line: an Outcome.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import grpc

TICK_SECONDS = 0.005
CHANNELS = 4
DEADLINE_SECONDS = 9.0
OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class Outcome:
    """Calls by their codes, and in seconds: how long they came, and how long right answers took.

    `lag` is how late this process was with a call at most.
    """

    codes: dict[str, int]
    seconds: float
    p50: float
    p99: float
    longest: float
    lag: float

    @property
    def goodput(self) -> float:
        """Right answers a second."""
        return self.codes.get("OK", 0) / self.seconds


class Flood:
    """Calls over a few channels in turn."""

    def __init__(self, channels: list[grpc.aio.Channel], order: dict[str, Any]) -> None:
        self._calls: list[Any] = [channel.unary_unary(order["method"]) for channel in channels]
        self._request = bytes.fromhex(order["request"])
        self._metadata = tuple((name, value) for name, value in order["metadata"])
        self._seconds = order["seconds"]
        self._lag = 0.0
        self._codes: Counter[str] = Counter()
        self._times: list[float] = []

    async def callers(self, number: int) -> Outcome:
        begun = time.monotonic()

        async def again(index: int) -> None:
            while (now := time.monotonic()) - begun < self._seconds:
                await self._call(index, now)

        await asyncio.gather(*map(again, range(number)))
        return self._outcome(time.monotonic() - begun)

    async def rate(self, rate: float) -> Outcome:
        begun = time.monotonic()
        tasks = set()
        for number in range(round(rate * self._seconds)):
            due = begun + number / rate
            while due > time.monotonic():  # noqa: ASYNC110 # it waits for the time
                await asyncio.sleep(TICK_SECONDS)
            # From when it was due, not from when this process came to it.
            task = asyncio.create_task(self._call(number, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        seconds = time.monotonic() - begun
        await asyncio.gather(*tasks)
        return self._outcome(seconds)

    async def _call(self, number: int, due: float) -> None:
        self._lag = max(self._lag, time.monotonic() - due)
        call = self._calls[number % len(self._calls)]
        try:
            await call(self._request, metadata=self._metadata, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
        else:
            code = "OK"
            self._times.append(time.monotonic() - due)
        self._codes[code] += 1

    def _outcome(self, seconds: float) -> Outcome:
        times = sorted(self._times)
        return Outcome(dict(self._codes), seconds, at(times, 0.5), at(times, 0.99), at(times, 1), self._lag)


def at(ordered: list[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


async def main(target: str) -> None:
    channels = [grpc.aio.insecure_channel(target, options=OPTIONS) for _ in range(CHANNELS)]
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        flood = Flood(channels, order)
        outcome = await (flood.callers(order["callers"]) if "callers" in order else flood.rate(order["rate"]))
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
