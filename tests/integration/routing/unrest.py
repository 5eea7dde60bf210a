"""What changes about tenants while others use them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import psycopg

from controlplane.testing.ground import Neighbours

# Of a suspended tenant, and of one that has just got another name.
AWAY = frozenset({403, 404})
_CHANGES = (
    "UPDATE public.tenants SET state = 'suspended' WHERE id = %s",
    "UPDATE public.tenants SET name = name || '!' WHERE id = %s",
    "UPDATE public.tenants SET state = 'active' WHERE id = %s",
    "UPDATE public.tenants SET subdomain = 'new-' || subdomain WHERE id = %s",
    "UPDATE public.tenants SET subdomain = substr(subdomain, 5) WHERE id = %s",
    "UPDATE public.tenant_domains SET state = 'lost' WHERE tenant_id = %s",
    "UPDATE public.tenant_domains SET state = 'verified' WHERE tenant_id = %s",
)


@contextlib.asynccontextmanager
async def meanwhile(*endless: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """All of them go on until the block ends, and none ends before."""
    running = [asyncio.create_task(each) for each in endless]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
    assert all(task.cancelled() for task in running), [task.exception() for task in running]


async def stir(neighbours: Neighbours) -> None:
    """Tenants are renamed, suspended and taken back, all the time."""
    url = neighbours.superuser_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        while True:
            for tenant in neighbours.tenants:
                for change in _CHANGES:
                    await conn.execute(change, [tenant.id])
                    await asyncio.sleep(0.005)
