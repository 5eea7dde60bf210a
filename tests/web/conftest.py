"""The API over a real PostgreSQL, called in process."""

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.database import Server, fresh_database
from tests.web.calls import Site, open_site


@pytest.fixture(scope="module")
async def site(server: Server) -> AsyncIterator[Site]:
    """One for all tests of a module: each makes tenants of its own."""
    with fresh_database(server) as database:
        async with open_site(database) as opened:
            yield opened


@pytest.fixture
async def client(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a full admin."""
    async with site.client() as opened:
        yield opened
