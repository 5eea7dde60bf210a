"""Hears through Redis of tenants that have changed. A hint: the directory finds out without it."""

import asyncio
import logging
from contextlib import aclosing

from controlplane.routing.cache import CacheUnavailable
from controlplane.routing.directory import TenantDirectory
from controlplane.routing.redis_cache import RedisCache

log = logging.getLogger(__name__)

_RECONNECT_S = 1.0


async def listen_redis(redis: RedisCache, directory: TenantDirectory) -> None:
    """Have the directory forget whatever other processes announce, until the task is cancelled.

    After every reconnect it forgets everything, for something may have been missed.
    """
    level = logging.WARNING
    while True:
        try:
            async with aclosing(redis.heard()) as heard:
                async for subdomains in heard:
                    directory.forget(subdomains)
                    level = logging.WARNING
        except CacheUnavailable as error:
            log.log(level, "not listening for tenants' changes: %s", error)
            # Said once, and not every second for as long as Redis is away.
            level = logging.DEBUG
        await asyncio.sleep(_RECONNECT_S)
