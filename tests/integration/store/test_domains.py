"""Tenants' own domains as rows: claimed once each for a look, written by whoever holds it, one owner."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.own_domains import DomainState, Verdict
from controlplane.domain.own_hosts import Host
from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    DomainLimit,
    DomainNotFound,
    DomainTaken,
    InvalidState,
    TenantNotFound,
    ValidationFailed,
)
from controlplane.provisioning import own_domains
from controlplane.store import domains, tenants
from controlplane.store.domain_tables import tenant_domains as table
from controlplane.store.domains import Domain, Due
from controlplane.store.tables import audit_log
from tests.integration.store.conftest import ADMIN, Accepted, accept

pytestmark = pytest.mark.anyio

WWW = Host("www.acme.example")
HOUR = timedelta(hours=1)


@pytest.fixture
async def acme(conn: AsyncConnection) -> Accepted:
    return await active(conn, "acme")


@pytest.fixture
async def globex(conn: AsyncConnection) -> Accepted:
    return await active(conn, "globex")


async def active(conn: AsyncConnection, subdomain: str) -> Accepted:
    made = await accept(conn, subdomain)
    await tenants.set_state(conn, made.id, TenantState.ACTIVE)
    return made


async def add(
    conn: AsyncConnection,
    tenant_id: UUID,
    host: Host = WWW,
    *,
    at_most: int = 5,
    redirects: bool = False,
) -> Domain:
    added, _ = await own_domains.add(
        conn, tenant_id, host=host, redirects=redirects, at_most=at_most, actor=ADMIN
    )
    return added


async def claim(conn: AsyncConnection, limit: int = 10) -> list[Due]:
    return await domains.claim(conn, limit=limit, lease_s=60)


def verdict(due: Due, state: DomainState, after: timedelta | None = HOUR) -> Verdict:
    verified_at = None if state is DomainState.PENDING else due.now
    return Verdict(state, verified_at, None, points_here=True, problem=None, check_after=after)


async def _verify(conn: AsyncConnection, tenant_id: UUID, host: Host = WWW) -> None:
    await conn.execute(
        update(table)
        .where(table.c.tenant_id == tenant_id, table.c.host == host)
        .values(state=DomainState.VERIFIED, verified_at=text("now()"))
    )


async def test_a_claim_has_a_challenge_of_its_own_and_is_due_at_once(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    mine, theirs = await add(conn, acme.id), await add(conn, globex.id)
    other = await add(conn, acme.id, Host("acme.example"), redirects=True)
    assert len({mine.challenge, theirs.challenge, other.challenge}) == 3
    assert mine.challenge.startswith("controlplane-verify=")
    assert (mine.state, mine.is_primary, mine.redirects) == (DomainState.PENDING, False, False)
    assert other.redirects
    assert [d.host for d in await domains.of_tenant(conn, acme.id)] == ["acme.example", WWW]
    found = await claim(conn)
    assert {(due.domain.id, due.subdomain) for due in found} == {
        (mine.id, "acme"),
        (other.id, "acme"),
        (theirs.id, "globex"),
    }


async def test_adding_again_changes_nothing(conn: AsyncConnection, acme: Accepted) -> None:
    first = await add(conn, acme.id)
    again = await own_domains.add(conn, acme.id, host=WWW, redirects=True, at_most=1, actor=ADMIN)
    assert not again[1]
    assert again[0] == first


async def test_a_host_that_another_tenant_has_proven_is_taken_and_nobody_is_named(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    await add(conn, acme.id)
    await add(conn, globex.id)
    await _verify(conn, acme.id)
    third = await active(conn, "initech")
    with pytest.raises(DomainTaken) as caught:
        await add(conn, third.id)
    assert "acme'" not in str(caught.value).replace(WWW, "")
    assert str(acme.id) not in str(caught.value)
    # Whose it is may ask again.
    assert (await add(conn, acme.id)).state is DomainState.VERIFIED


async def test_a_tenant_has_so_many_and_no_more(conn: AsyncConnection, acme: Accepted) -> None:
    await add(conn, acme.id, at_most=1)
    with pytest.raises(DomainLimit, match="1 domains"):
        await add(conn, acme.id, Host("two.example"), at_most=1)
    await own_domains.remove(conn, acme.id, WWW, actor=ADMIN)
    await add(conn, acme.id, Host("two.example"), at_most=1)


_DELETED = [TenantState.DELETING, TenantState.DELETED]
_WAY: dict[TenantState, list[TenantState]] = {
    TenantState.ACTIVE: [],
    TenantState.SUSPENDED: [TenantState.SUSPENDED],
    TenantState.DELETING: _DELETED[:1],
    TenantState.DELETED: _DELETED,
    TenantState.PURGING: [*_DELETED, TenantState.PURGING],
    TenantState.PURGED: [*_DELETED, TenantState.PURGING, TenantState.PURGED],
}


@pytest.mark.parametrize("state", sorted(_WAY))
async def test_only_a_tenant_that_is_active_or_suspended_gets_domains(
    conn: AsyncConnection, acme: Accepted, state: TenantState
) -> None:
    await add(conn, acme.id)
    served = {TenantState.ACTIVE, TenantState.SUSPENDED}
    for step in _WAY[state]:
        await tenants.set_state(conn, acme.id, step)
    ways = (
        add(conn, acme.id, Host("two.example")),
        own_domains.check(conn, acme.id, WWW, actor=ADMIN),
        own_domains.change(conn, acme.id, WWW, is_primary=True, redirects=None, actor=ADMIN),
    )
    for way in ways:
        if state in served:
            await way
        else:
            with pytest.raises(InvalidState, match=state):
                await way
    # Letting go is always possible.
    await own_domains.remove(conn, acme.id, WWW, actor=ADMIN)


async def test_nobody_is_given_what_is_not_there(conn: AsyncConnection, acme: Accepted) -> None:
    for ask in (own_domains.check, own_domains.remove):
        with pytest.raises(DomainNotFound, match=r"gone\.example"):
            await ask(conn, acme.id, "gone.example", actor=ADMIN)
        with pytest.raises(TenantNotFound):
            await ask(conn, uuid4(), WWW, actor=ADMIN)


async def test_one_domain_is_the_primary_one_and_it_does_not_redirect(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for tenant in (acme, globex):
        await add(conn, tenant.id, redirects=True)
        await add(conn, tenant.id, Host("two.example"))

    async def change(
        host: str, *, is_primary: bool | None = None, redirects: bool | None = None
    ) -> Domain:
        return await own_domains.change(
            conn, acme.id, host, is_primary=is_primary, redirects=redirects, actor=ADMIN
        )

    async def flags() -> list[tuple[bool, bool]]:
        return [(d.is_primary, d.redirects) for d in await domains.of_tenant(conn, acme.id)]

    await change("two.example", is_primary=True)
    assert await flags() == [(True, False), (False, True)]
    await change(WWW, is_primary=True)
    assert await flags() == [(False, False), (True, False)]
    for primary in (None, True):
        with pytest.raises(ValidationFailed, match="cannot redirect"):
            await change(WWW, is_primary=primary, redirects=True)
    await change(WWW, is_primary=False, redirects=True)
    assert await flags() == [(False, False), (False, True)]
    await change(WWW)
    assert await flags() == [(False, False), (False, True)]
    theirs = await domains.of_tenant(conn, globex.id)
    assert [(d.is_primary, d.redirects) for d in theirs] == [(False, False), (False, True)]


async def test_what_was_done_is_on_record(conn: AsyncConnection, acme: Accepted) -> None:
    await add(conn, acme.id)
    await add(conn, acme.id)
    await own_domains.change(conn, acme.id, WWW, is_primary=True, redirects=None, actor=ADMIN)
    await own_domains.change(conn, acme.id, WWW, is_primary=True, redirects=None, actor=ADMIN)
    await own_domains.check(conn, acme.id, WWW, actor=ADMIN)
    await own_domains.remove(conn, acme.id, WWW, actor=ADMIN)
    c = audit_log.c
    query = select(c.action, c.target, c.actor).where(
        c.tenant_id == acme.id, c.action.startswith("domain.")
    )
    told = [tuple(row) for row in await conn.execute(query.order_by(c.at))]
    verbs = ("add", "change", "check", "remove")
    assert told == [(f"domain.{verb}", WWW, ADMIN.id) for verb in verbs]


async def test_what_was_claimed_is_not_due_until_its_lease_is_over(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await add(conn, acme.id)
    (first,) = await claim(conn)
    assert await claim(conn) == []
    await conn.execute(update(table).values(check_at=text("now() - interval '1 s'")))
    (second,) = await claim(conn)
    assert not await domains.settle(conn, first, verdict(first, DomainState.VERIFIED))
    assert await domains.settle(conn, second, verdict(second, DomainState.VERIFIED))
    found = await domains.get(conn, acme.id, WWW)
    assert (found.state, found.points_here, found.last_error) == (DomainState.VERIFIED, True, None)
    assert found.checked_at is not None
    assert found.check_at is not None
    assert abs(found.check_at - found.checked_at - HOUR) < timedelta(minutes=5)


async def test_the_one_that_has_waited_longest_is_first(
    conn: AsyncConnection, acme: Accepted
) -> None:
    for number in range(3):
        added = await add(conn, acme.id, Host(f"w{number}.example"))
        ago = text(f"now() - interval '{(number * 2) % 3} min'")
        await conn.execute(update(table).where(table.c.id == added.id).values(check_at=ago))
    first = await claim(conn, 2)
    assert {due.domain.host for due in first} == {"w1.example", "w2.example"}
    assert [due.domain.host for due in await claim(conn, 2)] == ["w0.example"]


async def test_a_look_that_somebody_asks_for_overtakes_the_one_under_way(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await add(conn, acme.id)
    (due,) = await claim(conn)
    await own_domains.check(conn, acme.id, WWW, actor=ADMIN)
    assert not await domains.settle(conn, due, verdict(due, DomainState.VERIFIED))
    (again,) = await claim(conn)
    await own_domains.change(conn, acme.id, WWW, is_primary=True, redirects=None, actor=ADMIN)
    # What has nothing to do with the look stays.
    assert await domains.settle(conn, again, verdict(again, DomainState.VERIFIED, None))
    found = await domains.get(conn, acme.id, WWW)
    assert (found.is_primary, found.state, found.check_at) == (True, DomainState.VERIFIED, None)


async def test_what_was_removed_meanwhile_stays_removed(
    conn: AsyncConnection, acme: Accepted
) -> None:
    await add(conn, acme.id)
    (due,) = await claim(conn)
    await own_domains.remove(conn, acme.id, WWW, actor=ADMIN)
    assert not await domains.settle(conn, due, verdict(due, DomainState.VERIFIED))
    assert await domains.of_tenant(conn, acme.id) == []


async def test_forgetting_takes_all_of_one_tenants_and_no_others(
    conn: AsyncConnection, acme: Accepted, globex: Accepted
) -> None:
    for tenant in (acme, globex):
        await add(conn, tenant.id)
    assert await domains.forget(conn, acme.id) == [WWW]
    assert await domains.of_tenant(conn, acme.id) == []
    assert [d.host for d in await domains.of_tenant(conn, globex.id)] == [WWW]
