"""A tenant that cannot be answered keeps no connection from the others."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.database import Server, fresh_database
from tests.web.calls import open_site
from tests.web.members import Members, make_tenant

pytestmark = pytest.mark.anyio

INFO = "/api/tenant/info"


@pytest.fixture
async def members(server: Server) -> AsyncIterator[Members]:
    with fresh_database(server) as database:
        async with open_site(database, CONTROLPLANE_POOL_SIZE="3") as site:
            async with site.client() as client, site.working():
                acme, globex = [await make_tenant(client) for _ in range(2)]
            yield Members(site, acme, globex)


async def test_a_tenant_whose_tables_are_held_leaves_the_others_their_connections(
    members: Members,
) -> None:
    async with members.at(members.acme) as at_acme, members.at(members.globex) as at_globex:
        with members.holding(members.acme, "settings"):
            asked = [asyncio.create_task(at_acme.get(INFO)) for _ in range(6)]
            first, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
            others = [await at_globex.get(INFO) for _ in range(3)]
        answers = await asyncio.gather(*asked)
    assert {each.result().json()["code"] for each in first} == {"tenant_busy"}
    assert [answer.status_code for answer in others] == [200] * 3
    assert {answer.status_code for answer in answers} == {200, 503}
