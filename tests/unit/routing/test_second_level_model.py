"""However readers, writers and transactions interleave, nobody is told what was over before he
asked: a registry in memory whose transactions overlap, and directories that share a bad cache."""

import asyncio
import random
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from controlplane.domain.tenants import TenantState
from controlplane.routing import Ages, RoutedTenant, TenantDirectory
from controlplane.routing.cache import CacheUnavailable, MemoryCache
from controlplane.routing.known import Changes

pytestmark = pytest.mark.anyio

NAMES = ("acme", "globex", "initech")
# Asks for changes before each answer, so that what may be told is known to the moment.
EAGER = Ages(fresh_s=0)


class Turns:
    """Lets others go on, a random number of times; the only clock."""

    def __init__(self, draw):
        self.draw = draw
        self.now = 0

    async def take(self, most=6):
        for _ in range(self.draw.randrange(most)):
            self.now += 1
            await asyncio.sleep(0)


class FakeRegistry:
    """Rows and changes as PostgreSQL would tell of them, transaction by transaction."""

    def __init__(self, turns):
        self._turns = turns
        self._next = 100
        self._running = {}
        self._told = []
        # Each value with the turn since when it holds.
        self.history: dict[str, Any] = {name: [(0, None)] for name in NAMES}
        self.looked = 0

    async def change(self, name):
        number, self._next = self._next, self._next + 1
        if name in self._running.values():
            return
        self._running[number] = name
        await self._turns.take(40)
        tenant = RoutedTenant(uuid4(), name, str(number), TenantState.ACTIVE, "starter", None)
        free = self._turns.draw.random() < 0.2
        self.history[name].append((self._turns.now, None if free else tenant))
        self._told.append((number, name))
        del self._running[number]

    def held_since(self, name, turn):
        """What the name had from that turn on."""
        history = self.history[name]
        before = [value for since, value in history if since <= turn]
        return [before[-1], *(value for since, value in history if since > turn)]

    async def lookup(self, name):
        self.looked += 1
        await self._turns.take()
        found = self.history[name][-1][1]
        await self._turns.take(40)
        return found

    async def changes(self, since):
        await self._turns.take()
        horizon = min(self._running, default=self._next)
        seen = [(name, at) for at, name in self._told if since is not None and at >= since]
        changes = Changes(dict(seen), horizon, "server", monotonic())
        await self._turns.take()
        return changes


class BadCache(MemoryCache):
    """Late, and at times not there; its writes may overtake each other."""

    def __init__(self, turns):
        super().__init__()
        self._turns = turns
        self.got = 0

    async def get(self, key):
        await self._turns.take()
        found = await super().get(key)
        self._fail()
        self.got += found is not None
        return found

    async def set(self, key, value, *, ttl_s):
        await self._turns.take(30)
        self._fail()
        await super().set(key, value, ttl_s=ttl_s)

    async def announce(self, subdomains):
        await self._turns.take(30)
        self._fail()
        await super().announce(subdomains)

    def _fail(self):
        if self._turns.draw.random() < 0.05:
            raise CacheUnavailable


class Process:
    """One that asks; it forgets all when it is started anew."""

    def __init__(self, registry, cache, turns):
        self._registry, self._cache, self._turns = registry, cache, turns
        cache.followers.append(self.hear)
        self.start()

    def start(self):
        self.directory = TenantDirectory(None, ages=EAGER, shared=self._cache)  # type: ignore[arg-type]  # its registry is ours
        self.directory._registry = self  # type: ignore[assignment]  # noqa: SLF001  ours
        self.asked_at = 0
        self.lookup = self._registry.lookup

    def hear(self, names):
        self.directory.forget(names)

    async def changes(self, since):
        self.asked_at = self._turns.now
        return await self._registry.changes(since)

    async def ask(self, name):
        directory = self.directory
        # One that is under way is waited for.
        asked_anew = directory._catching_up is None  # noqa: SLF001
        since = self._turns.now if asked_anew else self.asked_at
        found = await directory.lookup(name)
        assert found in self._registry.held_since(name, since)


async def _step(draw, registry, processes):
    name, process = draw.choice(NAMES), draw.choice(processes)
    match draw.choices(["ask", "change", "start", "hint"], weights=[20, 6, 2, 1])[0]:
        case "ask":
            await process.ask(name)
        case "change":
            await registry.change(name)
        case "start":
            process.start()
        case "hint":
            process.directory.tell([name])


@pytest.mark.parametrize("seed", range(12))
async def test_nobody_is_told_what_was_over_before_he_asked(seed):
    draw = random.Random(seed)  # noqa: S311  the same every time
    turns = Turns(draw)
    registry, cache = FakeRegistry(turns), BadCache(turns)
    processes = [Process(registry, cache, turns) for _ in range(4)]
    async with asyncio.TaskGroup() as group:
        for _ in range(400):
            group.create_task(_step(draw, registry, processes))
            await turns.take()
    for process in processes:
        await asyncio.gather(*process.directory._telling)  # noqa: SLF001  hints are under way
    # The cache did save questions.
    assert cache.got > 0
    assert registry.looked < 400
