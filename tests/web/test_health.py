"""Probes, and the API while PostgreSQL is away."""

import psycopg
import pytest
from psycopg import sql

from controlplane.store.migrate import public_head
from tests.database import Database, Server
from tests.web.calls import BASE, TENANTS, Site, new_tenant, open_site

pytestmark = pytest.mark.anyio


def close_database(server: Server, database: Database, *, closed: bool) -> None:
    """As far as the API can tell, PostgreSQL is down or up again."""
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                sql.Identifier(database.name), sql.SQL("false" if closed else "true")
            )
        )
        if closed:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database.name],
            )


async def test_a_ready_process_says_what_it_looked_at(site: Site) -> None:
    async with site.client(None) as client:
        assert (await client.get("/health/ready")).json()["checks"] == ["database", "migrations"]
        assert (await client.get("/health/live")).json()["status"] == "ok"


async def test_the_release_is_told_to_anybody(site: Site) -> None:
    async with site.client(None) as client:
        assert (await client.get("/api/app/info")).json() == {
            "version": "0.1.0",
            "mode": "multi_tenant",
        }


async def test_without_its_database_everything_is_a_clear_503(
    server: Server, database: Database
) -> None:
    async with open_site(database) as site, site.client() as client:
        assert (await client.get("/health/ready")).status_code == 200
        close_database(server, database, closed=True)
        live = await client.get("/health/live")
        ready = await client.get("/health/ready")
        listed = await client.get(TENANTS)
        posted = await client.post(TENANTS, json=new_tenant())
        tenant = await client.get("/api/tenant/info", headers={"host": f"acme.{BASE}"})
        close_database(server, database, closed=False)
        again = await client.post(TENANTS, json=new_tenant())
    assert live.status_code == 200
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert ready.json()["detail"] == "database: it does not answer."
    for answer in (listed, posted):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert answer.headers["retry-after"]
        assert "psycopg" not in answer.text
    assert tenant.status_code == 503
    assert again.status_code == 202


async def test_another_releases_schema_is_not_ready(database: Database) -> None:
    async with open_site(database) as site, site.client() as client:
        with psycopg.connect(database.owner_url) as conn:
            conn.execute("UPDATE public.alembic_version_public SET version_num = '0000'")
        answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"].startswith("migrations: ")
    assert public_head() in answer.json()["detail"]
