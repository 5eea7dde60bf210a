"""Look for what does not fit together, and set it right by operations: never by side effect."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain import drift
from controlplane.domain.dns import OwnedRecord, record_for
from controlplane.domain.drift import Finding, Kind, Seen, SeenOperation, SeenTenant
from controlplane.domain.naming import Mark, Subdomain, parse_subdomain
from controlplane.domain.operations import OperationState
from controlplane.domain.tenants import TenantState
from controlplane.errors import (
    InvalidState,
    OperationInProgress,
    ProviderBusy,
    SubdomainInvalid,
    SubdomainReserved,
    TenantNotFound,
)
from controlplane.ports import DnsProvider
from controlplane.provisioning import lifecycle
from controlplane.provisioning.plans import CLEAN
from controlplane.provisioning.requests import idle_tenant, start
from controlplane.store import audit, tenants
from controlplane.store.audit import Actor
from controlplane.store.operations import OperationView

_WARM = text("SELECT tenant_id FROM public.warm_schemas")
# All in one snapshot: what a tenant has and whether it may have it are of the same moment.
_MARKED = text("""
SELECT 'schema' AS thing, n.nspname AS name, d.description AS comment
FROM pg_catalog.pg_description d JOIN pg_catalog.pg_namespace n ON n.oid = d.objoid
WHERE d.classoid = 'pg_catalog.pg_namespace'::regclass AND d.objsubid = 0
  AND n.nspname ~ '^tenant_[0-9a-f]{32}$' AND starts_with(d.description, :mark)
UNION ALL
SELECT 'role', r.rolname, d.description
FROM pg_catalog.pg_shdescription d JOIN pg_catalog.pg_roles r ON r.oid = d.objoid
WHERE d.classoid = 'pg_catalog.pg_authid'::regclass
  AND r.rolname ~ '^tenant_[0-9a-f]{32}$' AND starts_with(d.description, :mark)
""")
# An operation since the look may have given it one.
_WITHOUT_ADMIN = text("""
SELECT d.tenant_id FROM public.structure_drift d CROSS JOIN public.structure_look l
WHERE d.lacks_admin AND NOT EXISTS (SELECT FROM public.operations o
  WHERE o.tenant_id = d.tenant_id AND o.finished_at > l.looked_at)
""")
_ROLLING = text("SELECT EXISTS (SELECT FROM public.rollouts WHERE finished_at IS NULL)")
_TENANTS = text(r"""
SELECT t.id, t.subdomain, t.state, t.revision,
  t.conditions @> '{"Frozen": {"holds": true}}' AS frozen,
  o.id AS operation_id, o.kind, o.state AS operation_state,
  o.run_at < clock_timestamp() - interval '10 minutes'
    AND (o.lease_expires_at IS NULL OR o.lease_expires_at < clock_timestamp()) AS idle,
  -- Before its first claim the deadline does not run.
  o.state <> 'pending' AND o.deadline_at < clock_timestamp() - interval '10 minutes' AS late
FROM public.tenants t
LEFT JOIN public.operations o ON o.tenant_id = t.id AND o.finished_at IS NULL
""")

# More than so many at once are no passing trouble, and each question costs a call.
_ASKED_AT_MOST = 100


async def look(
    database: AsyncEngine,
    *,
    installation: UUID,
    dns: DnsProvider,
    dns_target: str,
    newest: str | None = None,
) -> list[Finding]:
    """Everything that does not fit, in a fixed order. Changes nothing.

    `database` is the owner's, `newest` the template's revision, where it is to be compared. Raises ProviderUnavailable and ProviderRefused.
    """
    # The zone first: a record's tenant was committed before the record was made.
    records = tuple([owned async for owned in dns.owned(installation)])
    async with database.connect() as plain:
        conn = await plain.execution_options(isolation_level="REPEATABLE READ")
        seen = await _read(conn, installation, records, newest)
    found = drift.findings(seen, dns_target=dns_target if dns.per_tenant else None)
    return await _confirmed(found, _questions(found, seen, installation, dns_target), dns)


async def _read(
    conn: AsyncConnection,
    installation: UUID,
    records: tuple[OwnedRecord, ...],
    newest: str | None,
) -> Seen:
    marked = (await conn.execute(_MARKED, {"mark": f"controlplane/{installation}/"})).all()
    rows = (await conn.execute(_TENANTS)).all()
    # Made ahead, they belong to the warm pool until they belong to a tenant.
    warm = frozenset((await conn.execute(_WARM)).scalars())
    return Seen(
        tenants={row.id: _tenant(row) for row in rows},
        schemas=_marked(marked, "schema", installation) - warm,
        roles=_marked(marked, "role", installation) - warm,
        records=records,
        without_admin=frozenset((await conn.execute(_WITHOUT_ADMIN)).scalars()),
        newest=None if (await conn.execute(_ROLLING)).scalar_one() else newest,
    )


def _marked(rows: Sequence[Row[Any]], thing: str, installation: UUID) -> frozenset[UUID]:
    whose = (
        drift.tenant_marked(row.name, row.comment, installation)
        for row in rows
        if row.thing == thing
    )
    return frozenset(tenant_id for tenant_id in whose if tenant_id is not None)


def _tenant(row: Row[Any]) -> SeenTenant:
    operation = None
    if row.operation_id is not None:
        state = OperationState(row.operation_state)
        operation = SeenOperation(row.operation_id, row.kind, state, row.idle, row.late)
    return SeenTenant(
        row.id, row.subdomain, TenantState(row.state), operation, row.revision, row.frozen
    )


def _questions(
    found: list[Finding], seen: Seen, installation: UUID, dns_target: str
) -> dict[tuple[UUID, str], OwnedRecord]:
    """The record that each finding about the zone is about, by tenant and name."""
    return {
        **{(owned.mark.tenant, owned.record.name): owned for owned in seen.records},
        **{
            (f.tenant_id, f.subject): OwnedRecord(
                record_for(Subdomain(f.subject), dns_target),
                # Of whichever operation: the mark of a record is compared without it.
                Mark(installation, f.tenant_id, f.tenant_id),
            )
            for f in found
            if f.kind is Kind.RECORD_MISSING
        },
    }


async def _confirmed(
    found: list[Finding], looked: dict[tuple[UUID, str], OwnedRecord], dns: DnsProvider
) -> list[Finding]:
    """Without the records that came or went since the zone was read."""
    passed = set()
    asked = [f for f in found if f.kind in {Kind.RECORD_MISSING, Kind.RECORD_WITHOUT_TENANT}]
    asked = asked[:_ASKED_AT_MOST]
    answers = await _are_there([looked[f.tenant_id, f.subject] for f in asked], dns)
    for finding, there in zip(asked, answers, strict=True):
        if there is (finding.kind is Kind.RECORD_MISSING):
            passed.add(finding)
    return [finding for finding in found if finding not in passed]


async def _are_there(records: Sequence[OwnedRecord], dns: DnsProvider) -> list[bool]:
    """One after the other, but they queue for their turns together: no operation is held."""
    alone = asyncio.Lock()

    async def is_there(owned: OwnedRecord) -> bool:
        while True:
            try:
                async with alone:
                    return await dns.find(owned.record, owned.mark)
            except ProviderBusy as busy:
                await asyncio.sleep(busy.wait_s)

    tasks = [asyncio.create_task(is_there(owned)) for owned in records]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repair(
    conn: AsyncConnection,
    findings: Iterable[Finding],
    *,
    actor: Actor,
    deadline_s: float,
    at_most: int | None = None,
) -> list[UUID]:
    """Enter an operation for each tenant (or only `at_most`) that has something repairable; their
    ids. Never commits.

    Whatever is in use again, or has an operation under way, is left alone, so repairing twice is
    repairing once. A tenant with several orphan records needs several turns.
    """
    started: list[UUID] = []
    for tenant_id, found in drift.repairable(findings).items():
        if len(started) == at_most:
            break
        try:
            if found[0].kind in drift.ORPHANS:
                accepted = await _clean(conn, tenant_id, found, actor, deadline_s)
            else:
                accepted = await lifecycle.repair(
                    conn, tenant_id, actor=actor, deadline_s=deadline_s
                )
        except (InvalidState, OperationInProgress):
            continue  # it has changed since it was looked at; the next look will tell
        started.append(accepted.id)
    return started


async def _clean(
    conn: AsyncConnection, tenant_id: UUID, orphans: list[Finding], actor: Actor, deadline_s: float
) -> OperationView:
    """Raises InvalidState where nothing of it is an orphan any more, and OperationInProgress."""
    try:
        tenant = await idle_tenant(conn, tenant_id)
    except TenantNotFound:
        subdomain = _name_for(tenant_id, orphans)
        await tenants.add_tombstone(conn, tenant_id=tenant_id, subdomain=subdomain)
        tenant = await idle_tenant(conn, tenant_id)
    records = [
        finding.subject
        for finding in orphans
        if finding.kind is Kind.RECORD_WITHOUT_TENANT
        and drift.record_is_orphan(finding.subject, tenant.subdomain, tenant.state)
    ]
    in_database = any(finding.kind is not Kind.RECORD_WITHOUT_TENANT for finding in orphans)
    what = {
        "record": records[0] if records else None,
        "schema": in_database and drift.schema_is_orphan(tenant.state),
    }
    if not any(what.values()):
        raise InvalidState("Nothing of this tenant's is an orphan any more.")
    await audit.write(conn, actor, "tenant.clean", tenant_id=tenant_id, after=what)
    params = {**what, "from_state": tenant.state}
    return await start(conn, tenant_id, CLEAN, params, actor=actor, deadline_s=deadline_s)


def _name_for(tenant_id: UUID, orphans: list[Finding]) -> Subdomain:
    """The subdomain of a tombstone: its record's name, if a tenant may be called so."""
    for finding in orphans:
        if finding.kind is Kind.RECORD_WITHOUT_TENANT:
            with suppress(SubdomainInvalid, SubdomainReserved):
                return parse_subdomain(finding.subject)
    return Subdomain(f"orphan-{tenant_id.hex[:12]}")
