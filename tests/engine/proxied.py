"""A lab whose every connection to PostgreSQL leads through a proxy that can break it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.database import Database
from tests.engine.ground import Ground
from tests.engine.lab import Lab
from tests.proxy import Proxy

# As psycopg sends it: one message of the simple query protocol.
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"


def through(proxy: Proxy, database: Database) -> Database:
    """The database as it is seen through the proxy; a superuser still goes straight there."""
    return replace(
        database,
        owner_url=proxy.url(database.owner_url),
        control_url=proxy.url(database.control_url),
        app_url=proxy.url(database.app_url),
    )


@asynccontextmanager
async def proxied_lab(ground: Ground, folder: Path) -> AsyncIterator[tuple[Lab, Proxy]]:
    """With the bystander 'globex'; at the end the world is looked over, and the bystander."""
    async with (
        Proxy.before(ground.database.owner_url) as proxy,
        ground.lab_anew(folder, database=through(proxy, ground.database)) as lab,
    ):
        yield lab, proxy
