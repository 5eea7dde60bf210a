"""Rows of tenants: subdomains are claimed once, pages are stable, versions count."""

import asyncio
from itertools import chain
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import parse_subdomain
from controlplane.domain.tenants import Tenant, TenantState, Tier
from controlplane.errors import SubdomainTaken, TenantNotFound, ValidationFailed
from controlplane.store import tenants
from controlplane.store.operation_tables import operations as operations_table
from controlplane.store.tenant_tables import tenants as table
from tests.integration.store.conftest import Accepted, accept

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def _add(conn: AsyncConnection, subdomain: str, **changes: Any) -> UUID:
    tenant_id = uuid4()
    values: dict[str, Any] = {
        "name": "Acme",
        "tier": Tier.STARTER,
        "admin_email": "ada@acme.test",
        "admin_name": None,
        "metadata": {},
        **changes,
    }
    await tenants.add(conn, tenant_id=tenant_id, subdomain=parse_subdomain(subdomain), **values)
    return tenant_id


async def test_a_tenant_is_read_as_it_was_entered(conn: AsyncConnection) -> None:
    tenant_id = await _add(
        conn, "acme", name="Acme, Inc.", tier=Tier.ENTERPRISE, admin_name="Ada", metadata={"a": [1]}
    )
    tenant = await tenants.get(conn, tenant_id)
    assert tenant == Tenant(
        id=tenant_id,
        name="Acme, Inc.",
        subdomain=parse_subdomain("acme"),
        state=TenantState.PROVISIONING,
        tier=Tier.ENTERPRISE,
        admin_email="ada@acme.test",
        admin_name="Ada",
        revision=None,
        version=1,
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
        metadata={"a": [1]},
    )
    assert tenant.created_at.utcoffset() is not None
    assert tenant.schema == f"tenant_{tenant_id.hex}"


async def test_an_unknown_tenant_is_named(conn: AsyncConnection) -> None:
    with pytest.raises(TenantNotFound, match="00000000-0000-0000-0000-000000000001"):
        await tenants.get(conn, UUID(int=1))


async def test_a_taken_subdomain_is_refused(conn: AsyncConnection) -> None:
    await _add(conn, "acme")
    with pytest.raises(SubdomainTaken, match="'acme' is taken"):
        await _add(conn, "ACME")


async def test_another_fault_of_the_row_is_not_taken_for_a_taken_subdomain(
    conn: AsyncConnection,
) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await _add(conn, "acme", name="")
    assert [fault.pointer for fault in caught.value.faults] == ["/name"]


async def test_of_twenty_who_want_a_subdomain_at_once_one_gets_it(control: AsyncEngine) -> None:
    async def ask() -> str:
        async with control.begin() as conn:
            return str((await accept(conn, "acme")).id)

    answers = await asyncio.gather(*(ask() for _ in range(20)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, SubdomainTaken)]
    assert len(refused) == 19
    async with control.connect() as conn:
        rows = (await conn.execute(select(table.c.id))).scalars().all()
        operations = (await conn.execute(select(operations_table.c.tenant_id))).scalars().all()
    (got,) = [answer for answer in answers if isinstance(answer, str)]
    assert [str(row) for row in rows] == [got]
    assert rows == operations


async def test_a_failed_tenant_claims_its_subdomain_anew(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await tenants.set_state(conn, acme.id, TenantState.FAILED)
    failed = await tenants.get(conn, acme.id)
    await tenants.provision_again(conn, failed)
    assert (await tenants.get(conn, acme.id)).state is TenantState.PROVISIONING


async def test_a_failed_tenant_whose_subdomain_is_gone_is_refused(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await tenants.set_state(conn, acme.id, TenantState.FAILED)
    await _add(conn, "acme")
    failed = await tenants.get(conn, acme.id)
    with pytest.raises(SubdomainTaken, match="'acme' is taken"):
        await tenants.provision_again(conn, failed)


async def test_a_jump_between_states_is_refused_by_the_database(
    conn: AsyncConnection, acme: Accepted
) -> None:
    with pytest.raises(IntegrityError, match="may not go from provisioning to purged"):
        await tenants.set_state(conn, acme.id, TenantState.PURGED)


async def test_every_change_counts_the_version_of_that_tenant_alone(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    before = await tenants.get(conn, globex.id)
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE)
    await tenants.set_revision(conn, acme.id, "app_0001,core_0003")
    await tenants.set_condition(conn, acme.id, "DnsReady", holds=False, reason="propagating")
    tenant = await tenants.get(conn, acme.id)
    assert (tenant.version, tenant.revision) == (4, "app_0001,core_0003")
    assert tenant.updated_at > tenant.created_at
    assert await tenants.get(conn, globex.id) == before


async def test_a_condition_is_replaced_and_the_others_stay(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await tenants.set_condition(conn, acme.id, "SchemaReady", holds=True)
    await tenants.set_condition(conn, acme.id, "DnsReady", holds=False, reason="propagating")
    await tenants.set_condition(conn, acme.id, "DnsReady", holds=True)
    conditions: dict[str, Any] = (await tenants.get(conn, acme.id)).conditions
    assert {name: (c["holds"], c["reason"]) for name, c in conditions.items()} == {
        "SchemaReady": (True, None),
        "DnsReady": (True, None),
    }
    assert conditions["DnsReady"]["since"] > conditions["SchemaReady"]["since"]


async def test_deletion_is_dated_until_the_tenant_is_restored(
    conn: AsyncConnection, acme: Accepted
) -> None:
    for state in (TenantState.ACTIVE, TenantState.DELETING, TenantState.DELETED):
        await tenants.set_state(conn, acme.id, state)
    assert (await tenants.get(conn, acme.id)).deleted_at is not None
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE)
    assert (await tenants.get(conn, acme.id)).deleted_at is None


async def test_a_purged_tenant_still_tells_when_it_was_deleted(
    conn: AsyncConnection, acme: Accepted
) -> None:
    for state in (TenantState.ACTIVE, TenantState.DELETING, TenantState.DELETED):
        await tenants.set_state(conn, acme.id, state)
    deleted_at = (await tenants.get(conn, acme.id)).deleted_at
    for state in (TenantState.PURGING, TenantState.PURGED):
        await tenants.set_state(conn, acme.id, state)
    assert (await tenants.get(conn, acme.id)).deleted_at == deleted_at


async def _pages(conn: AsyncConnection, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    after = None
    while page := await tenants.page(conn, limit=limit, after=after):
        pages.append([tenant.subdomain for tenant in page])
        after = (page[-1].created_at, page[-1].id)
    return pages


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_hold_each_tenant_once_though_all_were_made_at_the_same_moment(
    conn: AsyncConnection, limit: int
) -> None:
    """In one transaction now() stands still: the id alone decides the order."""
    names = {f"tenant-{i}" for i in range(5)}
    for name in names:
        await _add(conn, name)
    pages = await _pages(conn, limit)
    assert sorted(chain.from_iterable(pages)) == sorted(names)
    assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)


async def test_what_is_inserted_meanwhile_moves_no_later_page(conn: AsyncConnection) -> None:
    for i, name in enumerate(["oldest", "older", "newer", "newest"]):
        await conn.execute(
            update(table)
            .where(table.c.id == await _add(conn, name))
            .values(created_at=text(f"now() - interval '{10 - i} minutes'"))
        )
    first = await tenants.page(conn, limit=2)
    await _add(conn, "brand-new")
    await tenants.set_state(conn, first[-1].id, TenantState.ACTIVE)
    second = await tenants.page(conn, limit=2, after=(first[-1].created_at, first[-1].id))
    assert [tenant.subdomain for tenant in first + second] == ["newest", "newer", "older", "oldest"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {"acme", "globex", "percent"}),
        ({"include_deleted": True}, {"acme", "globex", "percent", "gone"}),
        ({"state": TenantState.DELETED}, {"gone"}),
        ({"state": TenantState.ACTIVE}, {"globex"}),
        ({"tier": Tier.ENTERPRISE}, {"globex"}),
        ({"tier": Tier.ENTERPRISE, "state": TenantState.PROVISIONING}, set()),
        ({"text": "ACM"}, {"acme"}),
        ({"text": "works"}, {"globex"}),
        ({"text": "100%"}, {"percent"}),
        ({"text": "%"}, {"percent"}),
        ({"text": "_"}, set()),
        ({"text": "'; DROP"}, set()),
        ({"text": "nobody"}, set()),
    ],
)
async def test_a_page_can_be_narrowed(
    conn: AsyncConnection, asked: dict[str, Any], found: set[str]
) -> None:
    await _add(conn, "acme", name="First")
    globex = await _add(conn, "globex", name="Glass Works", tier=Tier.ENTERPRISE)
    await tenants.set_state(conn, globex, TenantState.ACTIVE)
    await _add(conn, "percent", name="100% Sure")
    gone = await _add(conn, "gone", name="Second")
    for state in (TenantState.ACTIVE, TenantState.DELETING, TenantState.DELETED):
        await tenants.set_state(conn, gone, state)
    page = await tenants.page(conn, limit=10, **asked)
    assert {tenant.subdomain for tenant in page} == found
