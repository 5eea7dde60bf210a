"""A tenant that is suspended is refused by every process, whoever hears of it."""

import pytest

from tests.integration.routing.replicas import suspended, two_replicas

pytestmark = [pytest.mark.anyio, pytest.mark.requires("redis-server")]


async def test_a_suspended_tenant_is_refused_by_both_replicas_whatever_is_lost(world, redis):
    """The second one is never told by PostgreSQL, and in the end not by Redis either."""
    async with two_replicas(world.app, redis.url, hears=("both", "redis")) as replicas:
        for disturb in (lambda: None, redis.freeze, redis.stop):
            disturb()
            await suspended(replicas, world.admin)
            for replica in replicas:
                answer = await replica.ask("acme")
                assert (answer.status_code, answer.json()["code"]) == (403, "tenant_suspended")
                other = await replica.ask("globex")
                assert (other.status_code, other.text) == (200, "globex")
    redis.start()
