"""Rows about violations: they wait for the database, nobody waits for them, nobody can flood it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from psycopg.rows import dict_row
from sqlalchemy import text
from structlog.testing import capture_logs

from controlplane.store import refusals
from controlplane.store.refusals import Refusal
from controlplane.web.audit_budget import AuditBudget
from controlplane.web.audit_queue import AuditQueue
from tests.database import Database, Server
from tests.web.calls import Site, open_site
from tests.web.test_health import close_database

pytestmark = pytest.mark.anyio

CLOCK = text("SELECT clock_timestamp()")


def make_tenants(database: Database, number: int) -> list[UUID]:
    ids = [uuid4() for _ in range(number)]
    with psycopg.connect(database.superuser_url) as conn:
        conn.cursor().executemany(
            "INSERT INTO public.tenants (id, name, subdomain, state, tier, admin_email)"
            " VALUES (%s, 'Acme', %s, 'active', 'starter', 'ada@acme.test')",
            [(one, f"tenant-{one.hex}") for one in ids],
        )
    return ids


def rows(database: Database) -> list[dict[str, Any]]:
    with psycopg.connect(database.superuser_url, row_factory=dict_row) as conn:
        return conn.execute(
            "SELECT * FROM public.audit_log WHERE actor_kind = 'visitor' ORDER BY at"
        ).fetchall()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  the condition is the database's
            await asyncio.sleep(0.01)


class Queue:
    """One over the site's control login, and what it counts."""

    def __init__(self, site: Site, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.queue = AuditQueue(site.parts.control, registry=self.registry, pace_s=0.01, **options)

    def offer(self, tenant_id: UUID, **more: Any) -> None:
        self.queue.offer(Refusal(tenant_id, "isolation.denied", {"side": "host"}, **more))

    def counted(self, outcome: str) -> float:
        name = "controlplane_isolation_audit_rows_total"
        return self.registry.get_sample_value(name, {"outcome": outcome}) or 0.0


async def test_a_flood_of_one_tenant_is_ten_rows_and_a_sum(site: Site) -> None:
    acme, globex = make_tenants(site.database, 2)
    told = Queue(site)
    for _ in range(500):
        told.offer(acme)
    told.offer(globex)
    await until(lambda: told.counted("written") == 11)
    await told.queue.close()
    found = [row for row in rows(site.database) if row["tenant_id"] == acme]
    assert [row["action"] for row in found] == ["isolation.denied"] * 10 + ["isolation.more"]
    assert found[-1]["after"] == {"window_s": 60.0, "not_written": {"isolation.denied": 490}}
    assert len([row for row in rows(site.database) if row["tenant_id"] == globex]) == 1
    assert told.counted("summed") == 490
    assert told.counted("dropped") == 0


async def test_one_token_at_many_hosts_crowds_out_nobody(site: Site) -> None:
    acme, globex, *hosts = make_tenants(site.database, 132)
    told = Queue(site, size=120)
    for host in hosts:
        told.offer(host, other=acme, cause=acme)
        told.offer(acme, other=host)
    told.offer(globex)
    await told.queue.close()
    found = rows(site.database)
    assert len([row for row in found if row["tenant_id"] in hosts]) == 100
    assert [row["action"] for row in found if row["tenant_id"] == globex] == ["isolation.denied"]
    sums = [row["after"] for row in found if row["action"] == "isolation.more"]
    assert {"window_s": 60.0, "not_written": {"isolation.denied": 120}} in sums
    assert {"window_s": 60.0, "not_written_of_others": {"isolation.denied": 30}} in sums


async def test_a_sum_is_written_when_its_window_ends_although_nothing_more_happens(
    site: Site,
) -> None:
    (acme,) = make_tenants(site.database, 1)
    told = Queue(site, budget=AuditBudget(rows=1, window_s=0.1))
    told.offer(acme)
    told.offer(acme)
    await until(lambda: told.counted("written") == 2)
    await told.queue.close()


async def test_while_the_database_is_away_the_first_rows_wait_and_the_rest_is_dropped(
    server: Server, database: Database
) -> None:
    ids = make_tenants(database, 5)
    async with open_site(database) as site:
        close_database(server, database, closed=True)
        told = Queue(site, size=3)
        with capture_logs() as logs:
            for one in ids:
                told.offer(one)
            await until(lambda: {"audit_rows_wait"} <= {line["event"] for line in logs})
        assert told.counted("dropped") == 2
        close_database(server, database, closed=False)
        await until(lambda: told.counted("written") == 3)
        await told.queue.close()
    found = rows(database)
    assert {row["tenant_id"] for row in found} == set(ids[:3])
    assert told.counted("dropped") == 2


async def test_what_cannot_be_written_before_the_end_is_counted_as_dropped(
    server: Server, database: Database
) -> None:
    (acme,) = make_tenants(database, 1)
    async with open_site(database) as site:
        close_database(server, database, closed=True)
        told = Queue(site)
        told.offer(acme)
        await told.queue.close()
        close_database(server, database, closed=False)
    assert told.counted("dropped") == 1


async def test_a_row_that_is_refused_holds_up_no_other(site: Site) -> None:
    acme, globex = make_tenants(site.database, 2)
    told = Queue(site)
    told.offer(acme, agent="\0 fits in no text")
    await until(lambda: told.counted("dropped") == 1)
    told.offer(globex)
    await until(lambda: told.counted("written") == 1)
    await told.queue.close()


async def test_the_same_row_is_there_once_however_often_it_is_written(site: Site) -> None:
    (acme,) = make_tenants(site.database, 1)
    told = Queue(site)
    again = uuid4()
    for _ in range(3):
        told.offer(acme, id=again)
    await told.queue.close()
    assert [row["id"] for row in rows(site.database) if row["tenant_id"] == acme] == [again]


async def test_two_readers_who_compare_learn_nothing_of_a_third(site: Site) -> None:
    acme, globex, initech = make_tenants(site.database, 3)
    told = Queue(site)
    for reader in (acme, globex, acme):
        told.offer(reader, other=initech)
    await told.queue.close()
    seen = {
        (row["tenant_id"], row["after"]["other_tenant"])
        for row in rows(site.database)
        if row["tenant_id"] in {acme, globex}
    }
    assert len(seen) == 2
    assert len({shown for _, shown in seen}) == 2


async def test_a_row_that_has_waited_is_dated_when_it_happened(site: Site) -> None:
    (acme,) = make_tenants(site.database, 1)
    waited = Refusal(acme, "isolation.denied", {"side": "host"})
    async with site.parts.control.begin() as conn:
        before, *_ = (await conn.execute(CLOCK)).one()
        assert await refusals.append(conn, [(waited, 3600.0)]) == 1
        after, *_ = (await conn.execute(CLOCK)).one()
    (row,) = [row for row in rows(site.database) if row["id"] == waited.id]
    assert before <= row["at"] + timedelta(hours=1) <= after
