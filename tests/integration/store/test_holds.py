"""Who may claim a name, from whom it is kept and for how long."""

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import Subdomain
from controlplane.domain.tenants import HoldReason, TenantState
from controlplane.errors import (
    InvalidState,
    SubdomainQuarantined,
    SubdomainTaken,
    ValidationFailed,
)
from controlplane.provisioning import requests
from controlplane.provisioning.quarantine import release_name
from controlplane.store import holds, tenants
from controlplane.store.operation_tables import tenant_resources
from controlplane.store.tables import audit_log
from controlplane.store.tenant_tables import subdomain_holds
from tests.integration.store.conftest import ADMIN, Accepted, accept
from tests.integration.store.lives import activate, move, rename

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]

ACME = Subdomain("acme")
DAYS = timedelta(days=30)


async def _release(
    conn: AsyncConnection, accepted: Accepted, lasting: timedelta = DAYS, name: str = "acme"
) -> None:
    """As the last step of a purge does."""
    await activate(conn, accepted)
    for state in (TenantState.DELETING, TenantState.DELETED, TenantState.PURGING):
        await tenants.set_state(conn, accepted.id, state)
    await tenants.set_state(conn, accepted.id, TenantState.PURGED)
    await holds.quarantine(
        conn, Subdomain(name), accepted.id, why=HoldReason.RELEASED, lasting=lasting
    )


async def test_a_name_that_nobody_has_is_free(conn: AsyncConnection) -> None:
    await holds.claim(conn, ACME, uuid4())
    assert await holds.of(conn, ACME) == []


async def test_a_released_name_is_kept_from_others_and_says_until_when_but_not_by_whom(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme)
    with pytest.raises(SubdomainQuarantined) as caught:
        await accept(conn, "acme")
    (hold,) = await holds.of(conn, ACME)
    assert hold.until is not None
    assert f"{hold.until + timedelta(seconds=1):%Y-%m-%dT%H:%M}" in str(caught.value)
    assert "choose another" in str(caught.value)
    assert str(acme.id) not in str(caught.value)
    await accept(conn, "acme-2")


async def test_its_own_quarantine_does_not_keep_a_tenant_out(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await holds.quarantine(
        conn, Subdomain("acme-old"), acme.id, why=HoldReason.RELEASED, lasting=DAYS
    )
    await holds.claim(conn, Subdomain("acme-old"), acme.id)
    with pytest.raises(SubdomainQuarantined):
        await holds.claim(conn, Subdomain("acme-old"), uuid4())


async def test_when_its_time_is_over_a_name_is_free_whether_or_not_it_was_swept(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    assert await holds.of(conn, ACME) == []
    heir = await accept(conn, "acme")
    await holds.forget_expired(conn)
    assert (await conn.execute(select(subdomain_holds))).all() == []
    assert (await tenants.get(conn, heir.id)).subdomain == "acme"


async def test_the_sweep_forgets_only_what_is_over(conn: AsyncConnection, acme: Accepted) -> None:
    for name, lasting in [("over", timedelta(0)), ("lasting", DAYS)]:
        await holds.quarantine(
            conn, Subdomain(name), acme.id, why=HoldReason.UNDONE, lasting=lasting
        )
    await holds.reserve(conn, Subdomain("reserved"), acme.id)
    await holds.forget_expired(conn)
    left = await conn.execute(select(subdomain_holds.c.subdomain))
    assert set(left.scalars()) == {"lasting", "reserved"}


async def test_holding_again_never_shortens_a_hold(conn: AsyncConnection, acme: Accepted) -> None:
    for lasting in (DAYS, timedelta(seconds=1)):
        await holds.quarantine(conn, ACME, acme.id, why=HoldReason.UNDONE, lasting=lasting)
    (hold,) = await holds.of(conn, ACME)
    assert hold.until is not None
    assert hold.until - hold.created_at > timedelta(days=29)


async def test_a_hold_that_is_over_passes_to_the_next_who_lets_go(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for tenant_id, lasting in [(acme.id, timedelta(0)), (globex.id, DAYS)]:
        await holds.quarantine(
            conn, Subdomain("x-name"), tenant_id, why=HoldReason.UNDONE, lasting=lasting
        )
    (hold,) = await holds.of(conn, Subdomain("x-name"))
    assert hold.tenant_id == globex.id


async def test_the_name_of_a_failed_tenant_is_kept_for_it_alone(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await move(conn, acme.operation, "running", "succeeded")
    await tenants.set_state(conn, acme.id, TenantState.FAILED)
    await holds.quarantine(conn, ACME, acme.id, why=HoldReason.UNDONE, lasting=DAYS)
    with pytest.raises(SubdomainQuarantined):
        await accept(conn, "acme")
    await requests.provision_again(conn, acme.id, actor=ADMIN, deadline_s=60)
    assert await holds.of(conn, ACME) == []
    with pytest.raises(SubdomainTaken):
        await accept(conn, "acme")


async def test_a_rename_reserves_its_name_and_takes_nobodys(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await activate(conn, acme)
    await activate(conn, globex)
    await rename(conn, acme.id, "acme-new")
    with pytest.raises(SubdomainTaken):
        await accept(conn, "acme-new")
    for name in ("acme", "acme-new"):
        with pytest.raises(SubdomainTaken):
            await rename(conn, globex.id, name)
    log = select(audit_log).where(audit_log.c.action == "tenant.rename")
    (row,) = await conn.execute(log)
    assert (row.tenant_id, row.after) == (acme.id, {"subdomain": "acme-new", "old": "acme"})


async def test_a_rename_to_the_name_that_a_tenant_has_is_refused(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await activate(conn, acme)
    with pytest.raises(ValidationFailed) as caught:
        await rename(conn, acme.id, "acme")
    assert [(f.pointer, f.code) for f in caught.value.faults] == [("/subdomain", "unchanged")]


@pytest.mark.parametrize("way", [(), ("deleting", "deleted"), ("deleting",)])
async def test_only_a_served_tenant_is_renamed(
    conn: AsyncConnection, acme: Accepted, way: tuple[str, ...]
) -> None:
    await move(conn, acme.operation, "running", "succeeded")
    await tenants.set_state(conn, acme.id, TenantState.ACTIVE if way else TenantState.FAILED)
    for state in way:
        await tenants.set_state(conn, acme.id, TenantState(state))
    with pytest.raises(InvalidState, match="renamed"):
        await rename(conn, acme.id, "acme-new")
    assert await holds.of(conn, Subdomain("acme-new")) == []


async def test_a_record_that_may_be_there_keeps_a_name_when_no_hold_does(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    with pytest.raises(SubdomainQuarantined, match="record"):
        await accept(conn, "acme")


async def test_an_operator_gives_a_name_free_before_its_time_and_on_record(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme)
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    (ended,) = await release_name(conn, ACME, actor=ADMIN)
    assert (ended.tenant_id, ended.why) == (acme.id, "released")
    (row,) = await conn.execute(select(audit_log).where(audit_log.c.action == "subdomain.release"))
    assert (row.target, row.actor) == ("acme", ADMIN.id)
    assert row.before == {
        "holds": [{"why": "released", "tenant_id": str(acme.id)}],
        "records_of": [str(acme.id)],
    }
    assert await release_name(conn, ACME, actor=ADMIN) == []
    await accept(conn, "acme")


async def test_a_record_alone_that_is_given_up_is_on_record(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await _release(conn, acme, timedelta(0))
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="acme", operation_id=acme.operation
        )
    )
    assert await release_name(conn, ACME, actor=ADMIN) == []
    (row,) = await conn.execute(select(audit_log).where(audit_log.c.action == "subdomain.release"))
    assert row.before == {"holds": [], "records_of": [str(acme.id)]}
    await accept(conn, "acme")


async def test_a_rename_that_ended_without_its_hold_is_asked_for_again_or_given_free(
    conn: AsyncConnection, acme: Accepted
) -> None:
    """As after an abandon by a release that knew no holds."""
    await activate(conn, acme)
    await move(conn, await rename(conn, acme.id, "acme-new"), "running", "succeeded")
    operation_id = await rename(conn, acme.id, "acme-new")
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    await move(conn, operation_id, "running", "succeeded")
    (ended,) = await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    assert ended.why == "rename"
    await accept(conn, "acme-new")


async def test_no_operator_gives_a_name_free_while_an_operation_is_at_work_on_it(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await activate(conn, acme)
    operation_id = await rename(conn, acme.id, "acme-new")
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("acme-new"), actor=ADMIN)
    # Behind its pivot: the old name is held, and its record is on the way out.
    await holds.quarantine(conn, Subdomain("gone"), acme.id, why=HoldReason.RELEASED, lasting=DAYS)
    await conn.execute(
        tenant_resources.insert().values(
            tenant_id=acme.id, kind="dns", external_id="gone", operation_id=operation_id
        )
    )
    with pytest.raises(InvalidState, match="at work"):
        await release_name(conn, Subdomain("gone"), actor=ADMIN)


async def test_giving_free_leaves_the_record_of_the_tenant_that_has_the_name(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await activate(conn, acme)
    row = {"kind": "dns", "external_id": "acme", "operation_id": acme.operation}
    await conn.execute(tenant_resources.insert().values(tenant_id=acme.id, **row))
    assert await release_name(conn, ACME, actor=ADMIN) == []
    assert len((await conn.execute(select(tenant_resources))).all()) == 1
