"""PostgreSQL itself ends in the middle of a rollout, and comes back."""

import asyncio
from contextlib import closing

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from controlplane import embedded
from controlplane.domain.rollouts import ENDED, RolloutState
from controlplane.fleet import at_once
from controlplane.fleet.journal import Due
from controlplane.store.logins import Logins
from controlplane.tenancy.scope import enter
from tests.database import Server
from tests.engine.test_restarts import restart_at_once
from tests.integration.fleet.ground import (
    AFTER,
    BEFORE,
    NAMES,
    WAIT,
    open_fleet,
    until_one_waits,
)

pytestmark = pytest.mark.anyio

_PATIENCE_S = 60
# The message's first that does not get through.
_HELD = 4


async def test_a_rollout_goes_on_where_a_restart_has_cut_it_off(tmp_path):
    with embedded.throwaway() as running:
        with psycopg.connect(running.superuser_url, autocommit=True) as conn:
            # What it has committed outlives it.
            conn.execute("ALTER ROLE ALL SET synchronous_commit = on")
        server = Server(running.version, running.superuser_url, Logins.named("cp"))
        async with open_fleet(server, tmp_path) as fleet:
            await fleet.anew()
            done = await _cut_off(fleet, running)
            assert done < len(NAMES)
            assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)
            await fleet.engine.dispose()
            await fleet.anew()
            await _message_cut_off(fleet, running)
            # Of those before it in the message some may be forgotten: whole, each in its order.
            found = [revision == AFTER for revision in fleet.revisions().values()]
            assert found == sorted(found, reverse=True)
            assert sum(found) < _HELD
            await fleet.work()
            assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)


async def _message_cut_off(fleet, running):
    """All are in one message, and of one the table is in use."""
    rollout = await fleet.begin(lock_timeout_ms=60_000)
    dues = [Due(tenant, BEFORE) for tenant in fleet.tenants.values()]
    with closing(psycopg.connect(fleet.database.owner_url)) as reader:
        reader.execute(enter(fleet.tenants[NAMES[_HELD - 1]]))
        reader.execute("SELECT FROM notes")
        sent = asyncio.create_task(_sent(fleet, rollout, dues))
        with psycopg.connect(fleet.database.superuser_url, autocommit=True) as watcher:
            await until_one_waits(watcher, "relation")
        await asyncio.to_thread(restart_at_once, running)
        with pytest.raises(DBAPIError):
            await sent


async def _sent(fleet, rollout, dues):
    async with at_once.opened(fleet.roller().upgrader) as upgrading:
        await upgrading.some(rollout, dues)


async def _cut_off(fleet, running):
    """How many were upgraded when it was."""
    waits, stopping = fleet.waiting(), asyncio.Event()
    upgraded: list[int] = []
    rollout = await fleet.begin(of=waits, lock_timeout_ms=60_000)
    with closing(psycopg.connect(fleet.database.superuser_url)) as holder:

        async def hold(_place):
            upgraded.append(len(upgraded))
            # Of the first message, which has one target; the others share the next.
            if len(upgraded) == 1:
                holder.execute(WAIT)

        roller = fleet.roller(of=waits, failpoint=hold, lanes=1, in_one_message=True)
        task = asyncio.create_task(roller.run(stopping))
        try:
            with psycopg.connect(fleet.database.superuser_url, autocommit=True) as watcher:
                await until_one_waits(watcher)
            done = len(upgraded)
            # It ends whoever waits and whoever is waited for.
            await asyncio.to_thread(restart_at_once, running)
            async with asyncio.timeout(_PATIENCE_S):
                while (state := await _state(fleet, rollout)) not in ENDED:  # noqa: ASYNC110  another task's sessions end
                    await asyncio.sleep(0.02)
        finally:
            stopping.set()
            await task
    assert state is RolloutState.SUCCEEDED
    return done


async def _state(fleet, rollout):
    with fleet.place.superuser() as conn:
        row = conn.execute("SELECT state FROM public.rollouts WHERE id = %s", [rollout.id])
        return RolloutState(row.fetchone()[0])
