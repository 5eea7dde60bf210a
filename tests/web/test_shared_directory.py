"""The API's own directory shares its answers where CONTROLPLANE_REDIS_URL names a Redis."""

import pytest
from redis.asyncio import Redis

from tests.web.calls import BASE, open_site

pytestmark = [pytest.mark.anyio, pytest.mark.requires("redis-server")]


async def test_whose_a_name_is_stands_in_redis_and_is_known_without_it(database, redis):
    async with (
        open_site(database, CONTROLPLANE_REDIS_URL=redis.url) as site,
        site.client(None, host=f"nobody.{BASE}") as client,
    ):
        assert (await client.get("/api/tenant/info")).status_code == 404
        async with Redis.from_url(redis.url) as plain:
            key = f"controlplane:{database.installation}:tenant:nobody"
            assert 0 < await plain.pttl(key) <= 30_000
        redis.stop()
        try:
            site.parts.directory.forget()
            assert (await client.get("/api/tenant/info")).status_code == 404
        finally:
            redis.start()
