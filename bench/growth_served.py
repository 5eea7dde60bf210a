"""What who asks is answered with, among so many tenants: the API's processes, an app server's
directory, and the memory of its connections."""

import contextlib
import statistics
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any
from uuid import UUID

import ground
import httpx2
from growth_tenants import Figures, Tenants, anonymous_mb, ms, p50
from psycopg_pool import AsyncConnectionPool

from controlplane.cli.ground import first_admin
from controlplane.routing import Tenancy, TenantDirectory, check_login
from controlplane.routing.registry import Registry
from controlplane.store import census
from controlplane.tenancy.compile import compiled
from controlplane.wiring import warm_recipe

TIMES = 20
POSTS = 10
WARM = 2
# So many answers of a directory are weighed.
WEIGHED = 1_000
# The limit that a Tenancy has unless it is told otherwise.
LIMIT = 500
_SELECT = "SELECT id, name FROM users LIMIT 1"
_TENANTS = "/api/admin/tenants"


@dataclass(frozen=True)
class _Someone:
    id: UUID


@dataclass(frozen=True)
class Served:
    tenants: Tenants

    async def figures(self) -> Figures:
        return {
            **await self._api(),
            **await self._posts(),
            **await self._counted(),
            **await self._app_server(),
            **await self._directory(),
            **await self._connections(),
        }

    async def _api(self) -> Figures:
        token = await first_admin.fresh_token(self.tenants.parts.owner)
        began = perf_counter()
        async with ground.api(self.tenants.site, token) as client:
            figures = {"api_start_s": perf_counter() - began}
            some = self.tenants.ids()[0]
            last = await _last_cursor(client)
            asked: Mapping[str, Mapping[str, Any]] = {
                "list_ms": {},
                "deep_ms": {"cursor": last} if last else {},
                "state_ms": {"state": "active"},
                "search_ms": {"q": some.hex[:12]},
                "search_none_ms": {"q": "nobody is called so"},
                "subdomain_ms": {"subdomain": f"t-{some.hex}"},
            }
            for name, params in asked.items():
                figures[name] = await p50(TIMES, partial(_got, client, _TENANTS, **params))
            figures["get_ms"] = await p50(TIMES, partial(_got, client, f"{_TENANTS}/{some}"))
            figures["ready_ms"] = await p50(TIMES, partial(_got, client, "/health/ready"))
        return figures

    async def _posts(self) -> Figures:
        """From POST to the active tenant, one after the other; nothing else is to be swept up."""
        values = {**self.tenants.site.values, "CONTROLPLANE_REAPER_EVERY_S": "86400"}
        token = await first_admin.fresh_token(self.tenants.parts.owner)
        on = replace(self.tenants.site, values=values)
        async with ground.api(on, token) as client, ground.worker(on):
            taken = [await ground.post_tenant(client, wait=True) for _ in range(POSTS + WARM)]
        return {"post_ms": statistics.median(taken[WARM:])}

    async def _counted(self) -> Figures:
        """What /metrics asks the database, when its answer of the last seconds is over."""
        parts = self.tenants.parts
        newest = compiled(parts.template).revision
        recipe = warm_recipe(parts.settings, parts.template)

        async def count() -> None:
            async with parts.control.connect() as conn:
                await census.take(conn, newest, recipe)

        return {"metrics_ms": await p50(TIMES, count)}

    async def _app_server(self) -> Figures:
        """A new connection, its first transaction, and what an app server looks at when it starts."""
        ids = [_Someone(tenant_id) for tenant_id in self.tenants.ids()[: TIMES + 1]]
        taken, checked = [], []
        for someone in ids:
            async with _pool(self._app_url) as pool:
                taken.append(await ms(self._touch(Tenancy(pool), someone)))
                async with pool.connection() as conn:
                    checked.append(await ms(check_login(conn)))
        return {
            "first_ms": statistics.median(taken),
            "check_login_ms": statistics.median(checked),
        }

    async def _touch(self, tenancy: Tenancy, someone: _Someone) -> int:
        async with tenancy.transaction(someone) as conn:
            await (await conn.execute(_SELECT)).fetchone()
            return conn.info.backend_pid

    @property
    def _app_url(self) -> str:
        return str(self.tenants.site.values["CONTROLPLANE_APP_DATABASE_URL"])

    async def _directory(self) -> Figures:
        names = self.tenants.subdomains()
        async with _pool(self._app_url) as pool:
            directory, registry = TenantDirectory(pool), Registry(pool)
            await directory.lookup("nobody")
            began = perf_counter()
            unknown = [await ms(directory.lookup(name)) for name in names]
            load_s = perf_counter() - began
            known = [await ms(directory.lookup(name)) for name in names]
            horizon = (await registry.changes(None)).horizon
            figures = {
                "unknown_ms": statistics.median(unknown),
                "known_us": statistics.median(known) * 1000,
                "directory_s": load_s,
                "poll_ms": await p50(TIMES, lambda: registry.changes(horizon)),
                # As after a rollout over all, and what a reader's long transaction makes of it.
                "poll_all_ms": await p50(TIMES, lambda: registry.changes(0)),
            }
            weighed = await _weighed(TenantDirectory(pool), names[:WEIGHED])
        return figures | {"directory_mb": weighed * len(names) / 2**20}

    async def _connections(self) -> Figures:
        """What a server's process holds for itself after a select of each tenant."""
        everybody = [_Someone(tenant_id) for tenant_id in self.tenants.ids()]
        async with _pool(self._app_url) as pool:
            tenancy, taken = Tenancy(pool, tenants_per_connection=None), []
            for someone in everybody:
                began = perf_counter()
                process = await self._touch(tenancy, someone)
                taken.append((perf_counter() - began) * 1000)
            kept = anonymous_mb(process)
        async with _pool(self._app_url) as pool:
            tenancy, held = Tenancy(pool), 0.0
            for number, someone in enumerate(everybody[: 2 * LIMIT], start=1):
                async with tenancy.transaction(someone) as conn:
                    await (await conn.execute(_SELECT)).fetchone()
                    if number % 10 == 0:
                        held = max(held, anonymous_mb(conn.info.backend_pid))
        return {"touch_ms": statistics.median(taken), "kept_mb": kept, "limited_mb": held}


async def _got(client: httpx2.AsyncClient, path: str, **params: Any) -> Any:
    answer = await client.get(path, params=params)
    if not answer.is_success:
        raise SystemExit(f"The API answered {answer.status_code}: {answer.text}")
    return answer.json()


async def _last_cursor(client: httpx2.AsyncClient) -> str | None:
    """That of the last page."""
    cursor: str | None = None
    params: dict[str, Any] = {}
    while following := (await _got(client, _TENANTS, **params))["next_cursor"]:
        cursor = params["cursor"] = following
    return cursor


@contextlib.asynccontextmanager
async def _pool(url: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    kwargs = {"prepare_threshold": None}
    async with AsyncConnectionPool(url, min_size=1, max_size=1, kwargs=kwargs, open=False) as pool:
        yield pool


async def _weighed(directory: TenantDirectory, names: list[str]) -> float:
    """Bytes that it remembers of each."""
    await directory.lookup("nobody")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for name in names:
            await directory.lookup(name)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / len(names)
