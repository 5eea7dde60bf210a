"""What all processes of an installation share: the directory's cache, what is counted, the queue before
a DNS provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from controlplane.connections import counting_pool
from controlplane.dns_settings import DnsKind
from controlplane.errors import SettingsInvalid
from controlplane.ports import DnsProvider, RateLimits
from controlplane.providers import open_dns
from controlplane.routing import TenantDirectory
from controlplane.settings import Settings
from controlplane.store.ratelimit import PostgresRateLimits
from controlplane.store.ratelimit_sheltered import PATIENCE_S, ShelteredRateLimits
from controlplane.store.turns import PostgresTurns

# Of a whole account, or of a token: Cloudflare's 1,200 in five minutes.
_REQUESTS_PER_S = {DnsKind.ROUTE53: 5, DnsKind.CLOUDFLARE: 4}
_NEEDS_REDIS = "CONTROLPLANE_REDIS_URL needs the extra 'redis'."


@asynccontextmanager
async def open_directory(
    settings: Settings, pool: AsyncConnectionPool[Any], installation: UUID
) -> AsyncIterator[TenantDirectory]:
    """Whose a subdomain is; shared with the other processes where there is a Redis."""
    if settings.redis_url is None:
        yield TenantDirectory(pool)
        return
    try:
        from controlplane.routing.redis_cache import RedisCache  # noqa: PLC0415  an extra
        from controlplane.routing.redis_hints import listen_redis  # noqa: PLC0415
    except ImportError as error:
        raise SettingsInvalid(_NEEDS_REDIS) from error
    url = settings.redis_url.get_secret_value()
    async with RedisCache(url, installation=installation) as cache:
        directory = TenantDirectory(pool, shared=cache)
        listening = asyncio.create_task(listen_redis(cache, directory))
        try:
            yield directory
        finally:
            listening.cancel()
            await asyncio.wait([listening])


@asynccontextmanager
async def open_zone(settings: Settings) -> AsyncIterator[DnsProvider]:
    """The DNS provider; all processes queue before one that takes only so many requests."""
    allowed = _REQUESTS_PER_S.get(settings.dns)
    with ExitStack() as closing:
        if allowed is None:
            yield open_dns(settings, closing=closing)
            return
        name, per_s = f"dns/{settings.dns}", settings.dns_requests_per_s or allowed
        async with counting_pool(settings) as pool:
            turns = PostgresTurns(pool, name=name, per_s=per_s)
            yield open_dns(settings, closing=closing, turns=turns)


@asynccontextmanager
async def open_counts(settings: Settings) -> AsyncIterator[RateLimits]:
    """What counts requests: Redis where there is one, else PostgreSQL, and memory without either."""
    async with AsyncExitStack() as stack:
        if settings.redis_url is None:
            pool = await stack.enter_async_context(counting_pool(settings))
            shared: RateLimits = PostgresRateLimits(pool)
        else:
            shared = _redis_counts(settings.redis_url.get_secret_value(), stack)
        sheltered = ShelteredRateLimits(shared)
        stack.push_async_callback(sheltered.close)
        yield sheltered


def _redis_counts(url: str, stack: AsyncExitStack) -> RateLimits:
    try:
        from controlplane.store.ratelimit_redis import RedisRateLimits, open_redis  # noqa: PLC0415
    except ImportError as error:
        raise SettingsInvalid(_NEEDS_REDIS) from error
    client = open_redis(url, patience_s=PATIENCE_S)
    stack.push_async_callback(client.aclose)
    return RedisRateLimits(client)
